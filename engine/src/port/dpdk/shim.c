/* What DPDK offers only as C inline functions or as large C structures, as plain functions.
 * The layout of an mbuf is declared once more in mbuf.rs; the assertions below keep the two equal. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

_Static_assert(offsetof(struct rte_mbuf, buf_addr) == 0, "buf_addr");
_Static_assert(offsetof(struct rte_mbuf, data_off) == 16, "data_off");
_Static_assert(offsetof(struct rte_mbuf, nb_segs) == 20, "nb_segs");
_Static_assert(offsetof(struct rte_mbuf, port) == 22, "port");
_Static_assert(offsetof(struct rte_mbuf, ol_flags) == 24, "ol_flags");
_Static_assert(offsetof(struct rte_mbuf, pkt_len) == 36, "pkt_len");
_Static_assert(offsetof(struct rte_mbuf, data_len) == 40, "data_len");
_Static_assert(offsetof(struct rte_mbuf, buf_len) == 54, "buf_len");
_Static_assert(RTE_MBUF_F_RX_IP_CKSUM_BAD == 1ULL << 4, "RX_IP_CKSUM_BAD");
_Static_assert(RTE_MBUF_F_RX_IP_CKSUM_GOOD == 1ULL << 7, "RX_IP_CKSUM_GOOD");

struct pv_port_info {
	char driver[32];
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t rx_queues_max;
	uint16_t tx_queues_max;
	uint8_t can_rss;
	uint8_t can_checksum;
};

int pv_errno(void) { return rte_errno; }

const char *pv_strerror(int error) { return rte_strerror(error); }

int pv_eal_init(int argc, char **argv) { return rte_eal_init(argc, argv); }

int pv_eal_cleanup(void) { return rte_eal_cleanup(); }

int pv_probe(const char *devargs) { return rte_dev_probe(devargs); }

int pv_port_by_name(const char *name, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(name, port);
}

static const uint64_t rss_wanted =
	RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;

int pv_port_info(uint16_t port, struct pv_port_info *info)
{
	struct rte_eth_dev_info dev;
	struct rte_ether_addr mac;
	int error;

	memset(info, 0, sizeof(*info));
	error = rte_eth_dev_info_get(port, &dev);
	if (error == 0)
		error = rte_eth_macaddr_get(port, &mac);
	if (error == 0)
		error = rte_eth_dev_get_mtu(port, &info->mtu);
	if (error != 0)
		return error;
	strncpy(info->driver, dev.driver_name, sizeof(info->driver) - 1);
	memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	info->rx_queues_max = dev.max_rx_queues;
	info->tx_queues_max = dev.max_tx_queues;
	info->can_rss = (dev.flow_type_rss_offloads & rss_wanted) != 0;
	info->can_checksum = (dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
	return 0;
}

struct rte_mempool *pv_pool_create(const char *name, unsigned int mbufs, unsigned int cache, int socket)
{
	return rte_pktmbuf_pool_create(name, mbufs, cache, 0, RTE_MBUF_DEFAULT_BUF_SIZE, socket);
}

void pv_pool_free(struct rte_mempool *pool) { rte_mempool_free(pool); }

/* Configures queues, offloads that the port has, and starts it. */
int pv_port_start(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t descriptors,
		  struct rte_mempool *pool)
{
	struct rte_eth_conf conf;
	struct rte_eth_dev_info dev;
	uint16_t rx_descriptors = descriptors, tx_descriptors = descriptors, queue;
	int error, socket = rte_eth_dev_socket_id(port);

	error = rte_eth_dev_info_get(port, &dev);
	if (error != 0)
		return error;
	memset(&conf, 0, sizeof(conf));
	if (rx_queues > 1 && (dev.flow_type_rss_offloads & rss_wanted) != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = dev.flow_type_rss_offloads & rss_wanted;
	}
	conf.rxmode.offloads = dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	conf.txmode.offloads = dev.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	error = rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
	if (error == 0)
		error = rte_eth_dev_adjust_nb_rx_tx_desc(port, &rx_descriptors, &tx_descriptors);
	for (queue = 0; error == 0 && queue < rx_queues; queue++)
		error = rte_eth_rx_queue_setup(port, queue, rx_descriptors, socket, NULL, pool);
	for (queue = 0; error == 0 && queue < tx_queues; queue++)
		error = rte_eth_tx_queue_setup(port, queue, tx_descriptors, socket, NULL);
	if (error == 0)
		error = rte_eth_dev_start(port);
	return error;
}

void pv_port_close(uint16_t port)
{
	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
}

int pv_thread_register(void) { return rte_thread_register(); }

void pv_thread_unregister(void) { rte_thread_unregister(); }

uint16_t pv_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t pv_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

struct rte_mbuf *pv_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

void pv_free_bulk(struct rte_mbuf **mbufs, unsigned int count)
{
	rte_pktmbuf_free_bulk(mbufs, count);
}
