// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a server has done so far, as a message. */
#include "lease/conn.h"
#include "lease/msg.h"
#include "lease/server.h"

/* Each field once, in the order of the message; new ones at the end. */
/* clang-format never comes to rest here. */
/* clang-format off */
#define FIELDS(X) \
	X(peers) \
	X(accepted) \
	X(refused) \
	X(dropped) \
	X(sent_bytes) \
	X(received_bytes) \
	X(sent_messages) \
	X(received_messages) \
	X(requests) \
	X(requests_running) \
	X(workers)
/* clang-format on */

void cfs_server_stats_pack(const struct cfs_server_stats *stats,
			   struct cfs_wire_put *put)
{
#define X(name) cfs_wire_put_u64(put, stats->name);
	FIELDS(X)
#undef X
}

int cfs_server_stats_unpack(struct cfs_wire_get *get,
			    struct cfs_server_stats *ret)
{
	struct cfs_server_stats stats;

#define X(name) stats.name = cfs_wire_get_u64(get);
	FIELDS(X)
#undef X
	if (get->is_bad)
		return -EPROTO;
	*ret = stats;
	return 0;
}

int cfs_server_stats_ask(struct cfs_conn *conn,
			 const struct cfs_conn_wait *wait,
			 struct cfs_server_stats *ret, struct cfs_err *err)
{
	struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_wire_get get;
	int r = cfs_conn_call(conn, CFS_MSG_COUNTERS, NULL, 0, wait, &reply,
			      err);

	if (r == 0) {
		cfs_wire_get_init(&get, reply.data, reply.bytes);
		r = cfs_server_stats_unpack(&get, ret);
		if (r < 0)
			cfs_err_set(err, r, "the manager's counters are cut");
	}
	cfs_buf_donep(&reply);
	return r;
}
