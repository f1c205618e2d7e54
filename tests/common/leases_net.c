/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connections: whole messages, in order while the connection lasts.  One that
 * is lost takes the connection with it; what was under way may arrive all the
 * same, also when the client is long back on another connection.
 */
#include "leases_world.h"

#include <stdlib.h>
#include <string.h>

struct leases_conn *leases_conn(struct leases_world *w, uint64_t id)
{
	return id && id <= w->conn_count ? w->conns[id - 1] : NULL;
}

struct leases_conn *leases_connect(struct leases_world *w,
				   struct leases_client *c,
				   struct leases_manager *m)
{
	struct leases_conn *conn = calloc(1, sizeof(*conn));

	if (w->conn_count == w->conn_room) {
		w->conn_room = w->conn_room ? 2 * w->conn_room : 64;
		w->conns = reallocarray(w->conns, w->conn_room,
					sizeof(struct leases_conn *));
	}
	if (!conn || !w->conns)
		abort();
	*conn = (struct leases_conn){
		.id = w->conn_count + 1,
		.client = c->index,
		.client_life = w->sim->nodes[c->node].life,
		.manager = m->index,
		.term = m->term,
		.client_open = true,
		.manager_open = true,
	};
	w->conns[w->conn_count++] = conn;
	return conn;
}

static void closed_at_client(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct leases_world *w = arg;
	struct leases_conn *conn = leases_conn(w, id);

	(void)b;
	(void)data;
	if (conn->client_open)
		leases_client_disconnected(&w->clients[conn->client], conn);
	conn->client_open = false;
}

static void closed_at_manager(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct leases_world *w = arg;
	struct leases_conn *conn = leases_conn(w, id);
	struct leases_manager *m = &w->managers[conn->manager];

	(void)b;
	(void)data;
	if (conn->manager_open && m->owner && m->term == conn->term)
		leases_manager_closed(m, id);
	conn->manager_open = false;
}

void leases_cut(struct leases_world *w, struct leases_conn *conn)
{
	uint64_t wait_ns = w->plan.period_ns / 4;

	if (conn->is_cut)
		return;
	leases_count(w, COUNT_CUT);
	sim_say(w->sim, "connection %u of c%u is cut", (unsigned int)conn->id,
		conn->client);
	conn->is_cut = true;
	conn->is_lost[0] = sim_one_in(w->sim, 2);
	conn->is_lost[1] = sim_one_in(w->sim, 2);
	sim_at(w->sim, w->sim->now_ns + sim_skewed(w->sim, 0, wait_ns),
	       w->clients[conn->client].node, closed_at_client, w, conn->id, 0,
	       NULL);
	/* One side may not hear of it for long. */
	if (sim_one_in(w->sim, 4))
		wait_ns *= 20;
	sim_at(w->sim, w->sim->now_ns + sim_skewed(w->sim, 0, wait_ns),
	       w->managers[conn->manager].node, closed_at_manager, w, conn->id,
	       0, NULL);
}

static void arrive(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct leases_world *w = arg;
	struct leases_conn *conn = leases_conn(w, id);
	struct leases_client *c = &w->clients[conn->client];
	struct leases_manager *m = &w->managers[conn->manager];
	bool to_manager = b & 1;
	size_t bytes = (size_t)(b >> 1 & 0xffffff);
	uint64_t hellos = b >> 32;

	if (conn->is_lost[!to_manager] ||
	    (hellos && hellos - 1 != conn->hellos))
		return;
	if (to_manager) {
		if (conn->manager_open && m->owner && m->term == conn->term)
			leases_manager_receive(m, conn, data, bytes);
	} else if (conn->client_open && c->conn == conn && c->lc) {
		leases_client_receive(c, conn, data, bytes);
	}
}

static bool is_hello(const void *msg, size_t bytes)
{
	struct cfs_msg_head head;

	return cfs_msg_head_unpack(msg, bytes, &head, NULL) == 0 &&
	       head.type == CFS_MSG_HELLO;
}

/*
 * @is_double: it may come late, but not behind another HELLO: who spoke before
 * that was another client, and links repeat nothing by themselves.
 */
static void send_copy(struct leases_world *w, const struct leases_conn *conn,
		      bool to_manager, const void *msg, size_t bytes,
		      uint64_t at_ns, bool is_double)
{
	void *copy = malloc(bytes);

	if (!copy)
		abort();
	memcpy(copy, msg, bytes);
	sim_at(w->sim, at_ns,
	       to_manager ? w->managers[conn->manager].node
			  : w->clients[conn->client].node,
	       arrive, w, conn->id,
	       (is_double ? conn->hellos + 1 : 0) << 32 | (uint64_t)bytes << 1 |
		       to_manager,
	       copy);
}

/* MESSAGES=1 */
static void tell_message(struct leases_world *w, const struct leases_conn *conn,
			 bool to_manager, const void *msg, size_t bytes)
{
	struct cfs_msg_head head;
	struct cfs_wire_get body;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0)
		return;
	sim_say(w->sim, "%u: c%u %s m%u: type %x id %llx status %u%s%s",
		(unsigned int)conn->id, conn->client, to_manager ? "->" : "<-",
		conn->manager, head.type, (unsigned long long)head.id,
		head.status, head.has_more ? ", more" : "",
		conn->is_cut ? ", lost" : "");
}

int leases_send(struct leases_world *w, struct leases_conn *conn,
		bool to_manager, const void *msg, size_t bytes)
{
	uint64_t at_ns = w->sim->now_ns +
			 sim_skewed(w->sim, 0, w->plan.delay_ns);
	uint64_t *last_ns = &conn->last_ns[!to_manager];

	if (!conn->is_cut && sim_one_in(w->sim, w->plan.cut_in))
		leases_cut(w, conn);
	if (w->sim->is_verbose && getenv("MESSAGES"))
		tell_message(w, conn, to_manager, msg, bytes);
	if (conn->is_cut)
		return 0;
	conn->hellos += to_manager && is_hello(msg, bytes);
	if (at_ns < *last_ns)
		at_ns = *last_ns;
	*last_ns = at_ns;
	send_copy(w, conn, to_manager, msg, bytes, at_ns, false);
	if (sim_one_in(w->sim, w->plan.double_in)) {
		leases_count(w, COUNT_DOUBLE);
		send_copy(w, conn, to_manager, msg, bytes,
			  at_ns + sim_skewed(w->sim, 0, w->plan.period_ns),
			  true);
	}
	return 0;
}
