/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connections of whole.c: messages in order while the connection lasts.  One
 * that is lost takes the connection with it; what was under way may arrive all
 * the same, late; each side hears of the end for itself.
 */
#pragma once

#include "whole_world.h"

struct message {
	bool to_boss, is_rpc;
	size_t bytes;
	uint8_t data[];
};

static void boss_receive(struct boss *b, struct conn *conn,
			 const struct message *m);
static void boss_closed(struct boss *b, struct conn *conn);
static void client_receive(struct client_proc *c, const struct message *m);
static void client_closed(struct client_proc *c);

static struct conn *conn_of(struct whole *w, uint64_t id)
{
	struct conn *conn = w->conns;

	while (conn && conn->id != id)
		conn = conn->next;
	return conn;
}

static bool client_is_there(const struct whole *w, const struct conn *conn)
{
	const struct client_proc *c = &w->clients[conn->client];

	return conn->client_open && c->lives == conn->life && c->a.lc;
}

static struct conn *conn_new(struct whole *w, struct client_proc *c,
			     struct boss *b)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	assert_non_null(conn);
	*conn = (struct conn){
		.next = w->conns,
		.id = ++w->conn_count,
		.client = c->index,
		.life = (uint32_t)c->lives,
		.boss = b->index,
		.client_open = true,
		.boss_open = true,
	};
	w->conns = conn;
	return conn;
}

static void closed_at_client(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct whole *w = arg;
	struct conn *conn = conn_of(w, id);

	(void)b;
	(void)data;
	if (client_is_there(w, conn))
		client_closed(&w->clients[conn->client]);
	conn->client_open = false;
}

static void closed_at_boss(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct whole *w = arg;
	struct conn *conn = conn_of(w, id);

	(void)b;
	(void)data;
	if (conn->boss_open)
		boss_closed(&w->bosses[conn->boss], conn);
	conn->boss_open = false;
}

static void conn_cut(struct whole *w, struct conn *conn)
{
	uint64_t wait_ns = w->plan.period_ns / 4;

	if (conn->is_cut)
		return;
	count(w, COUNT_CUT);
	conn->is_cut = true;
	conn->is_lost[0] = sim_one_in(w->sim, 2);
	conn->is_lost[1] = sim_one_in(w->sim, 2);
	sim_at(w->sim, w->sim->now_ns + sim_skewed(w->sim, 0, wait_ns),
	       w->clients[conn->client].a.p->node, closed_at_client, w,
	       conn->id, 0, NULL);
	sim_at(w->sim,
	       w->sim->now_ns +
		       sim_skewed(w->sim, 0,
				  wait_ns * (sim_one_in(w->sim, 4) ? 20 : 1)),
	       w->bosses[conn->boss].a.p->node, closed_at_boss, w, conn->id, 0,
	       NULL);
}

static void arrive(void *arg, uint64_t id, uint64_t b, void *data)
{
	struct whole *w = arg;
	struct conn *conn = conn_of(w, id);
	const struct message *m = data;

	(void)b;
	if (conn->is_lost[!m->to_boss])
		return;
	if (m->to_boss) {
		if (conn->boss_open)
			boss_receive(&w->bosses[conn->boss], conn, m);
	} else if (client_is_there(w, conn) &&
		   w->clients[conn->client].conn == conn) {
		client_receive(&w->clients[conn->client], m);
	}
}

static int net_send(struct whole *w, struct conn *conn, bool to_boss,
		    bool is_rpc, const void *data, size_t bytes)
{
	uint64_t at_ns = w->sim->now_ns +
			 sim_skewed(w->sim, 0, w->plan.delay_ns);
	uint64_t *last_ns = &conn->last_ns[!to_boss];
	struct message *m;

	if (sim_one_in(w->sim, w->plan.cut_in))
		conn_cut(w, conn);
	if (conn->is_cut)
		return 0;
	*last_ns = at_ns = CFS_MAX(at_ns, *last_ns);
	m = malloc(sizeof(*m) + bytes);
	assert_non_null(m);
	m->to_boss = to_boss;
	m->is_rpc = is_rpc;
	m->bytes = bytes;
	memcpy(m->data, data, bytes);
	sim_at(w->sim, at_ns,
	       to_boss ? w->bosses[conn->boss].a.p->node
		       : w->clients[conn->client].a.p->node,
	       arrive, w, conn->id, 0, m);
	return 0;
}

static struct rpc *rpc_new(uint32_t type, uint64_t id, size_t bytes)
{
	struct rpc *q = calloc(1, sizeof(*q) + bytes);

	assert_non_null(q);
	q->type = type;
	q->id = id;
	q->bytes = (uint32_t)bytes;
	return q;
}

static void rpc_send(struct whole *w, struct conn *conn, bool to_boss,
		     struct rpc *q)
{
	(void)net_send(w, conn, to_boss, true, q, sizeof(*q) + q->bytes);
}
