/* What DPDK offers only as C inline functions or as large C structures, as plain functions.
 * The layout of an mbuf is declared once more in ffi.rs; the assertions below keep the two equal. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <linux/close_range.h>

#include <rte_bus.h>
#include <rte_cycles.h>
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

_Static_assert(sizeof(struct pv_port_info) == 46, "pv_port_info");
_Static_assert(offsetof(struct pv_port_info, driver) == 0, "driver");
_Static_assert(offsetof(struct pv_port_info, mac) == 32, "mac");
_Static_assert(offsetof(struct pv_port_info, mtu) == 38, "mtu");
_Static_assert(offsetof(struct pv_port_info, rx_queues_max) == 40, "rx_queues_max");
_Static_assert(offsetof(struct pv_port_info, tx_queues_max) == 42, "tx_queues_max");
_Static_assert(offsetof(struct pv_port_info, can_rss) == 44, "can_rss");
_Static_assert(offsetof(struct pv_port_info, can_checksum) == 45, "can_checksum");

struct pv_port_counts {
	uint64_t frames_in;
	uint64_t bytes_in;
	uint64_t frames_out;
	uint64_t bytes_out;
	uint64_t missed;
	uint64_t receive_errors;
	uint64_t no_buffer;
	uint64_t transmit_errors;
};

_Static_assert(sizeof(struct pv_port_counts) == 64, "pv_port_counts");
_Static_assert(offsetof(struct pv_port_counts, frames_in) == 0, "frames_in");
_Static_assert(offsetof(struct pv_port_counts, bytes_in) == 8, "bytes_in");
_Static_assert(offsetof(struct pv_port_counts, frames_out) == 16, "frames_out");
_Static_assert(offsetof(struct pv_port_counts, bytes_out) == 24, "bytes_out");
_Static_assert(offsetof(struct pv_port_counts, missed) == 32, "missed");
_Static_assert(offsetof(struct pv_port_counts, receive_errors) == 40, "receive_errors");
_Static_assert(offsetof(struct pv_port_counts, no_buffer) == 48, "no_buffer");
_Static_assert(offsetof(struct pv_port_counts, transmit_errors) == 56, "transmit_errors");

/* The speed is 0 where it is not known, and the duplex means nothing then. */
struct pv_port_link {
	uint32_t speed_mbps;
	uint8_t is_up;
	uint8_t full_duplex;
};

_Static_assert(sizeof(struct pv_port_link) == 8, "pv_port_link");
_Static_assert(offsetof(struct pv_port_link, speed_mbps) == 0, "speed_mbps");
_Static_assert(offsetof(struct pv_port_link, is_up) == 4, "is_up");
_Static_assert(offsetof(struct pv_port_link, full_duplex) == 5, "full_duplex");

int pv_errno(void) { return rte_errno; }

const char *pv_strerror(int error) { return rte_strerror(error); }

/* Cycles per second of the time stamp counter. */
uint64_t pv_tsc_hz(void) { return rte_get_tsc_hz(); }

int pv_eal_init(int argc, char **argv) { return rte_eal_init(argc, argv); }

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
	/* Neighbour solicitations go to groups; a port that cannot filter them passes them anyway. */
	if (error == 0)
		(void)rte_eth_allmulticast_enable(port);
	return error;
}

int pv_port_counts(uint16_t port, struct pv_port_counts *counts)
{
	struct rte_eth_stats stats;
	int error;

	memset(counts, 0, sizeof(*counts));
	error = rte_eth_stats_get(port, &stats);
	if (error != 0)
		return error;
	counts->frames_in = stats.ipackets;
	counts->bytes_in = stats.ibytes;
	counts->frames_out = stats.opackets;
	counts->bytes_out = stats.obytes;
	counts->missed = stats.imissed;
	counts->receive_errors = stats.ierrors;
	counts->no_buffer = stats.rx_nombuf;
	counts->transmit_errors = stats.oerrors;
	return 0;
}

/* The link of a started port; that of a port that cannot say is taken to be up. */
void pv_port_link(uint16_t port, struct pv_port_link *known)
{
	struct rte_eth_link link;

	memset(known, 0, sizeof(*known));
	known->is_up = 1;
	if (rte_eth_link_get_nowait(port, &link) != 0)
		return;
	known->is_up = link.link_status == RTE_ETH_LINK_UP;
	if (link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
		known->speed_mbps = link.link_speed;
	known->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
}

int pv_close_on_exec(void) { return close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); }

void pv_port_close(uint16_t port)
{
	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
}

int pv_thread_register(void) { return rte_thread_register(); }

void pv_thread_unregister(void) { rte_thread_unregister(); }

uint16_t pv_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	uint16_t received = rte_eth_rx_burst(port, queue, mbufs, count);
	/* The headers are looked at next; a NIC has left them in no nearer cache than the last. */
	for (uint16_t n = 0; n < received; n++)
		rte_prefetch0(rte_pktmbuf_mtod(mbufs[n], void *));
	return received;
}

uint16_t pv_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* Negative where the driver has no count. */
int pv_rx_queue_count(uint16_t port, uint16_t queue)
{
	return rte_eth_rx_queue_count(port, queue);
}

struct rte_mbuf *pv_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

void pv_free_bulk(struct rte_mbuf **mbufs, unsigned int count)
{
	rte_pktmbuf_free_bulk(mbufs, count);
}
