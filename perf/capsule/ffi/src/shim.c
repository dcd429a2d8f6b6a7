/* What Rust cannot call (static inline functions) or should not know (structures that change from
 * one DPDK release to the next). */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <stddef.h>
#include <string.h>

/* capsule reads fields of these two, so lib.rs repeats their layout. */
#define AT(type, field, place) _Static_assert(offsetof(struct type, field) == (place), #field)
AT(rte_mbuf, buf_addr, 0);
AT(rte_mbuf, data_off, 16);
AT(rte_mbuf, pkt_len, 36);
AT(rte_mbuf, data_len, 40);
AT(rte_mbuf, buf_len, 54);
AT(rte_mbuf, pool, 56);
AT(rte_mempool, flags, 56);
AT(rte_mempool, socket_id, 60);
AT(rte_mempool, size, 64);
AT(rte_mempool, cache_size, 68);
_Static_assert(RTE_MEMPOOL_NAMESIZE <= 32, "name");
_Static_assert(RTE_ETH_RSS_IP == 0xa38c, "IP");
_Static_assert(RTE_ETH_RSS_TCP == 0x10410, "TCP");
_Static_assert(RTE_ETH_RSS_UDP == 0x20820, "UDP");
_Static_assert(RTE_ETH_RSS_SCTP == 0x1040, "SCTP");
_Static_assert(RTE_MBUF_DEFAULT_BUF_SIZE == 2176, "buffer");
_Static_assert(RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE == 1 << 16, "fast free");
_Static_assert(sizeof(rte_cpuset_t) == 128, "cpuset");

int _rte_errno(void) { return rte_errno; }

struct rte_mbuf *_rte_pktmbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

void _rte_pktmbuf_free(struct rte_mbuf *mbuf) { rte_pktmbuf_free(mbuf); }

int _rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void _rte_mempool_put_bulk(struct rte_mempool *pool, void *const *objects, unsigned count)
{
	rte_mempool_put_bulk(pool, objects, count);
}

uint16_t _rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t _rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* The device's own description, as far as capsule looks at it. */
struct shim_info {
	const char *driver_name;
	uint64_t rx_offload_capa, tx_offload_capa, flow_type_rss_offloads;
	uint16_t max_rx_queues, max_tx_queues;
};

int shim_info_get(uint16_t port, struct shim_info *out)
{
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	if (result == 0)
		*out = (struct shim_info){
			.driver_name = info.driver_name,
			.rx_offload_capa = info.rx_offload_capa,
			.tx_offload_capa = info.tx_offload_capa,
			.flow_type_rss_offloads = info.flow_type_rss_offloads,
			.max_rx_queues = info.max_rx_queues,
			.max_tx_queues = info.max_tx_queues,
		};
	return result;
}

int shim_configure(uint16_t port, uint16_t rx, uint16_t tx, int rss, uint64_t hash, uint64_t offloads)
{
	struct rte_eth_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mq_mode = rss ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
	conf.rx_adv_conf.rss_conf.rss_hf = hash;
	conf.txmode.offloads = offloads;
	return rte_eth_dev_configure(port, rx, tx, &conf);
}
