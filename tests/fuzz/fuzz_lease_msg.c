/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages of the lease protocol.  An input is a run of records {u8 what, u8
 * type, le16 bytes, body}: each body is unpacked as every kind (and what
 * unpacks packs to bytes that unpack to the same), and sent to an owner that
 * has clients, locks and a clock; `what` has the peer and how the clock moves.
 * The first record is also judged as a whole message.
 */
#include "fuzz_input.h"
#include "lease/client.h"
#include "lease/msg.h"
#include "lease/owner.h"

#define PEERS 4u

static uint8_t once[CFS_MSG_BYTES_MAX], twice[CFS_MSG_BYTES_MAX];

#define JUDGE(x, type)                                                         \
	do {                                                                   \
		struct cfs_wire_put put;                                       \
		struct cfs_wire_get get;                                       \
		size_t bytes;                                                  \
		type m;                                                        \
		int r;                                                         \
                                                                               \
		cfs_wire_get_init(&get, body, size);                           \
		r = cfs_msg_##x##_unpack(&get, &m, NULL);                      \
		FUZZ_CHECK(r == 0 || r == -EPROTO);                            \
		if (r != 0)                                                    \
			break;                                                 \
		cfs_wire_put_init(&put, once, sizeof(once));                   \
		cfs_msg_##x##_pack(&m, &put);                                  \
		FUZZ_CHECK(!put.is_full);                                      \
		bytes = put.bytes;                                             \
		cfs_wire_get_init(&get, once, bytes);                          \
		FUZZ_CHECK(cfs_msg_##x##_unpack(&get, &m, NULL) == 0);         \
		FUZZ_CHECK(cfs_wire_get_left(&get) == 0);                      \
		cfs_wire_put_init(&put, twice, sizeof(twice));                 \
		cfs_msg_##x##_pack(&m, &put);                                  \
		FUZZ_CHECK(put.bytes == bytes &&                               \
			   memcmp(once, twice, bytes) == 0);                   \
	} while (0)

static void judge_bodies(const uint8_t *body, size_t size)
{
	JUDGE(hello, struct cfs_msg_hello);
	JUDGE(welcome, struct cfs_msg_welcome);
	JUDGE(renew, struct cfs_msg_renew);
	JUDGE(renew_lease, struct cfs_msg_renew_lease);
	JUDGE(lock, struct cfs_msg_lock);
	JUDGE(grant, struct cfs_msg_grant);
	JUDGE(lease, struct cfs_msg_lease);
	JUDGE(change, struct cfs_msg_change);
	JUDGE(cancel, struct cfs_msg_cancel);
	JUDGE(reclaim, struct cfs_msg_reclaim);
	JUDGE(end, struct cfs_msg_end);
	JUDGE(recall, struct cfs_msg_recall);
	JUDGE(event, struct cfs_lease_event);
	JUDGE(status, struct cfs_msg_status);
	JUDGE(status_head, struct cfs_msg_status_head);
	JUDGE(record, struct cfs_lease_record);
}

struct world {
	struct cfs_clock_manual clock;
	struct cfs_owner *owner;
	struct cfs_lease_client *client;
	struct cfs_lease *leases[4];
};

static int owner_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct cfs_wire_get body;
	struct cfs_msg_head head;

	(void)arg;
	(void)peer;
	/* What we send is sound, whatever we were sent. */
	FUZZ_CHECK(cfs_msg_open(msg, bytes, &head, &body, NULL) == 0);
	return 0;
}

static void owner_random(void *arg, void *p, size_t n)
{
	(void)arg;
	memset(p, 0x5a, n); /* a corpus can say it */
}

static int client_send(void *arg, const void *msg, size_t bytes)
{
	(void)arg;
	(void)msg;
	(void)bytes;
	return 0;
}

static void world_init(struct world *w)
{
	static const struct cfs_owner_ops owner_ops = {
		.send = owner_send,
		.random = owner_random,
	};
	static const struct cfs_lease_client_ops client_ops = {
		.send = client_send,
	};
	const struct cfs_owner_config config = {
		.epoch = 2,
		.period_ns = CFS_NS_PER_S,
		.grace_ns = 100,
		.clients_max = 8,
		.leases_per_client_max = 16,
		.waiting_per_client_max = 4,
		.watchers_max = 2,
	};
	const struct cfs_lease_client_config client = { .cached_max = 1 };
	const struct cfs_lease_request req = {
		.resource = { 1, 2, 3, 0, UINT64_MAX },
		.mode = CFS_LOCK_X,
		.flags = CFS_MSG_LOCK_RECALLABLE,
	};

	memset(w, 0, sizeof(*w));
	cfs_clock_manual_init(&w->clock, 1, 1);
	FUZZ_CHECK(cfs_owner_new(&config, &owner_ops, w, &w->clock.clock,
				 &w->owner, NULL) == 0);
	FUZZ_CHECK(cfs_lease_client_new(&client, &client_ops, w,
					&w->clock.clock, &w->client,
					NULL) == 0);
	cfs_lease_client_connected(w->client);
	for (size_t i = 0; i < 4; i++)
		FUZZ_CHECK(cfs_lease_client_acquire(w->client, &req,
						    &w->leases[i], NULL) == 0);
}

static void world_message(struct world *w, uint8_t what, uint8_t type,
			  const uint8_t *body, size_t size)
{
	static uint8_t msg[CFS_MSG_BYTES_MAX];
	const uint16_t reply =
		what & 0x10 ? CFS_MSG_TYPE_REPLY |
				      (what & 0x20 ? CFS_MSG_TYPE_MORE : 0)
			    : 0;
	struct cfs_wire_put put;

	cfs_wire_put_init(&put, msg, sizeof(msg));
	/* Low ids: replies meet requests of the client. */
	cfs_msg_begin(&put, type | reply, what & 0x40 ? 0 : 1 + what % 16);
	cfs_wire_put_bytes(&put, body, size);
	if (cfs_msg_end(&put) < 0)
		return;
	cfs_owner_receive(w->owner, 1 + what % PEERS, msg, put.bytes);
	cfs_lease_client_receive(w->client, msg, put.bytes);
	if (what & 0x80)
		cfs_clock_manual_advance(&w->clock,
					 CFS_NS_PER_S / 5 * (1 + what % 8));
	cfs_owner_tick(w->owner);
	cfs_lease_client_tick(w->client);
	if (what == 0x7f)
		cfs_owner_closed(w->owner, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cfs_wire_get body;
	struct cfs_msg_head head;
	struct world w;
	size_t at = 0;

	cfs_msg_open(data, size, &head, &body, NULL);
	world_init(&w);
	for (unsigned int i = 0; i < 64 && size - at >= 4; i++) {
		size_t n = data[at + 2] | (size_t)data[at + 3] << 8;
		const uint8_t *p = data + at + 4;

		n = n < size - at - 4 ? n : size - at - 4;
		judge_bodies(p, n);
		world_message(&w, data[at], data[at + 1], p, n);
		at += 4 + n;
	}
	FUZZ_CHECK(!cfs_owner_check(w.owner));
	for (size_t i = 0; i < 4; i++)
		cfs_lease_client_release(w.leases[i]);
	cfs_lease_client_free(w.client);
	cfs_owner_free(w.owner);
	return 0;
}
