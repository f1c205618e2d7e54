/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An owner and a few clients on one clock that moves when it is told to.
 * Messages wait in a queue until world_run, or travel at once (is_direct);
 * a client can be cut off in either direction.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lease/client.h"
#include "lease/owner.h"
#include "lease/period.h"

#define WORLD_CLIENTS 8u
#define T_NS          (10 * CFS_NS_PER_S)
#define WHOLE         CFS_LOCK_LENGTH_WHOLE

struct world_message {
	struct world_message *next;
	unsigned int client;
	bool to_owner;
	uint64_t peer;
	size_t bytes;
	uint8_t data[];
};

struct world_client {
	struct cfs_lease_client *client;
	unsigned int index;
	uint64_t peer; /* 0: no connection */
	bool is_cut;   /* what it sends is lost */
	bool is_deaf;  /* what is sent to it is lost */
	unsigned int done_count, recall_count, lost_count, dropped_count;
	unsigned int all_lost_count, welcome_count, stale_count;
	int done_status;
	struct cfs_lease *done_last, *recall_last;
	uint32_t recall_mode;
	uint64_t recall_id;
	bool yields;                       /* a recall at once */
	struct cfs_clock_manual own_clock; /* if world.has_own_clocks */
};

struct world {
	struct cfs_clock_manual clock;
	struct cfs_owner *owner;
	struct cfs_owner_config config;
	struct world_client clients[WORLD_CLIENTS];
	struct world_message *first, **last;
	uint64_t next_peer;
	bool is_direct;
	bool is_over; /* another has what the owner had */
	bool seals_later;
	bool is_unordered;   /* releases are answered */
	uint32_t flags;      /* of the HELLO of those to come */
	bool has_own_clocks; /* clients' clocks are not the owner's */
	unsigned int seal_count, event_count[CFS_EVENT_LAST + 1];
	struct {
		uint64_t client, lease;
	} seals[64]; /* not done yet */
	unsigned int seals_due;
	uint64_t seal_client, seal_lease;
	enum cfs_owner_end seal_end, ended;
	unsigned int ended_count;
};

static struct world world;

static void world_queue(unsigned int client, bool to_owner, uint64_t peer,
			const void *msg, size_t bytes)
{
	struct world_message *m = malloc(sizeof(*m) + bytes);

	assert_non_null(m);
	m->next = NULL;
	m->client = client;
	m->to_owner = to_owner;
	m->peer = peer;
	m->bytes = bytes;
	memcpy(m->data, msg, bytes);
	*world.last = m;
	world.last = &m->next;
}

static void world_deliver(const struct world_message *m)
{
	struct world_client *c = &world.clients[m->client];

	if (c->peer != m->peer)
		return; /* of a connection that was */
	if (m->to_owner)
		cfs_owner_receive(world.owner, m->peer, m->data, m->bytes);
	else
		assert_int_equal(
			cfs_lease_client_receive(c->client, m->data, m->bytes),
			0);
}

/* The first message for whom @is_awake says so; false: there is none. */
static bool world_deliver_one(bool (*is_awake)(unsigned int client))
{
	for (struct world_message **at = &world.first; *at; at = &(*at)->next) {
		struct world_message *m = *at;

		if (is_awake && !m->to_owner && !is_awake(m->client))
			continue;
		*at = m->next;
		if (!m->next)
			world.last = at;
		world_deliver(m);
		free(m);
		return true;
	}
	return false;
}

static void world_run(void)
{
	while (world_deliver_one(NULL))
		;
}

static int client_send(void *arg, const void *msg, size_t bytes)
{
	struct world_client *c = arg;

	if (!c->peer || c->is_cut)
		return c->peer ? 0 : -EPIPE;
	if (world.is_direct)
		cfs_owner_receive(world.owner, c->peer, msg, bytes);
	else
		world_queue(c->index, true, c->peer, msg, bytes);
	return 0;
}

static void client_done(void *arg, struct cfs_lease *lease, int status,
			const struct cfs_err *err)
{
	struct world_client *c = arg;

	(void)err;
	c->done_count++;
	c->done_last = lease;
	c->done_status = status;
}

static void client_recall(void *arg, struct cfs_lease *lease, uint64_t id,
			  const struct cfs_lock_resource *resource,
			  uint32_t mode)
{
	struct world_client *c = arg;

	(void)resource;
	c->recall_count++;
	c->recall_last = lease;
	c->recall_mode = mode;
	c->recall_id = id;
	if (c->yields)
		cfs_lease_client_yield(c->client, id);
}

static void client_lost(void *arg, struct cfs_lease *lease)
{
	struct world_client *c = arg;

	if (lease)
		c->lost_count++;
	else
		c->all_lost_count++;
}

static void client_dropped(void *arg, uint64_t id,
			   const struct cfs_lock_resource *resource)
{
	struct world_client *c = arg;

	(void)id;
	(void)resource;
	c->dropped_count++;
}

static void client_changed(void *arg, int status, const struct cfs_err *err)
{
	struct world_client *c = arg;

	(void)err;
	if (status == 0)
		c->welcome_count++;
	else
		c->stale_count++;
}

static int owner_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	(void)arg;
	for (unsigned int i = 0; i < WORLD_CLIENTS; i++) {
		struct world_client *c = &world.clients[i];

		if (c->peer != peer || c->is_deaf)
			continue;
		if (world.is_direct)
			cfs_lease_client_receive(c->client, msg, bytes);
		else
			world_queue(i, false, peer, msg, bytes);
	}
	return 0;
}

static void owner_on_event(void *arg, const struct cfs_lease_event *event)
{
	(void)arg;
	world.event_count[event->kind]++;
}

static void owner_seal(void *arg, uint64_t client, uint64_t lease,
		       enum cfs_owner_end end)
{
	(void)arg;
	world.seal_count++;
	world.seal_client = client;
	world.seal_lease = lease;
	world.seal_end = end;
	if (!world.seals_later) {
		cfs_owner_sealed(world.owner, client, lease);
		return;
	}
	assert_true(world.seals_due < CFS_ARRAY_COUNT(world.seals));
	world.seals[world.seals_due].client = client;
	world.seals[world.seals_due++].lease = lease;
}

static inline void world_seal_due(void)
{
	while (world.seals_due) {
		unsigned int i = --world.seals_due;

		cfs_owner_sealed(world.owner, world.seals[i].client,
				 world.seals[i].lease);
	}
}

static void owner_ended(void *arg, uint64_t client, enum cfs_owner_end end)
{
	(void)arg;
	(void)client;
	world.ended = end;
	world.ended_count++;
}

static bool owner_may_say(void *arg, uint64_t peer)
{
	(void)arg;
	(void)peer;
	return !world.is_over;
}

static const struct cfs_owner_ops world_owner_ops = {
	.send = owner_send,
	.may_say = owner_may_say,
	.event = owner_on_event,
	.seal = owner_seal,
	.ended = owner_ended,
};

static void world_owner(uint64_t epoch, uint64_t grace_ns)
{
	world.config.period_ns = T_NS;
	world.config.epoch = epoch;
	world.config.grace_ns = grace_ns;
	assert_int_equal(cfs_owner_new(&world.config, &world_owner_ops, NULL,
				       &world.clock.clock, &world.owner, NULL),
			 0);
}

static void world_connect(unsigned int i)
{
	struct world_client *c = &world.clients[i];

	c->peer = ++world.next_peer;
	cfs_lease_client_connected(c->client);
	world_run();
}

static void world_disconnect(unsigned int i)
{
	struct world_client *c = &world.clients[i];
	uint64_t peer = c->peer;

	c->peer = 0;
	cfs_lease_client_disconnected(c->client);
	if (world.owner)
		cfs_owner_closed(world.owner, peer);
}

static void world_client_new(unsigned int i)
{
	static const struct cfs_lease_client_ops ops = {
		.send = client_send,
		.done = client_done,
		.recall = client_recall,
		.lost = client_lost,
		.dropped = client_dropped,
		.changed = client_changed,
	};
	struct cfs_lease_client_config config = {
		.cached_max = 3,
		.is_ordered = !world.is_unordered,
	};
	struct world_client *c = &world.clients[i];

	snprintf(config.hello.host, sizeof(config.hello.host), "host%u", i);
	snprintf(config.hello.name, sizeof(config.hello.name), "tool");
	config.hello.pid = 100 + i;
	config.hello.flags = world.flags;
	*c = (struct world_client){ .index = i };
	cfs_clock_manual_init(&c->own_clock, 1000, 0);
	assert_int_equal(cfs_lease_client_new(&config, &ops, c,
					      world.has_own_clocks
						      ? &c->own_clock.clock
						      : &world.clock.clock,
					      &c->client, NULL),
			 0);
}

/* An owner without grace, and @count clients that are welcome. */
static inline void world_init(unsigned int count)
{
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	world_owner(1, 0);
	for (unsigned int i = 0; i < count; i++) {
		world_client_new(i);
		world_connect(i);
		assert_true(
			cfs_lease_client_is_welcome(world.clients[i].client));
	}
}

static void world_done(void)
{
	world_run();
	if (world.owner)
		assert_null(cfs_owner_check(world.owner));
	for (unsigned int i = 0; i < WORLD_CLIENTS; i++)
		cfs_lease_client_free(world.clients[i].client);
	cfs_owner_free(world.owner);
	while (world.first) {
		struct world_message *m = world.first;

		world.first = m->next;
		free(m);
	}
}

static void world_tick(void)
{
	for (unsigned int i = 0; i < WORLD_CLIENTS; i++)
		if (world.clients[i].client)
			cfs_lease_client_tick(world.clients[i].client);
	if (world.owner)
		cfs_owner_tick(world.owner);
	world_run();
	if (world.owner)
		assert_null(cfs_owner_check(world.owner));
}

static uint64_t world_now(void)
{
	return world.clock.elapsed_ns;
}

/* On by @ns in steps of a tenth of a second, everybody ticking. */
static inline void world_pass(uint64_t ns)
{
	uint64_t end_ns = world_now() + ns;

	while (world_now() < end_ns) {
		cfs_clock_manual_advance(
			&world.clock,
			CFS_MIN(end_ns - world_now(), 100 * CFS_NS_PER_MS));
		world_tick();
	}
}

static struct cfs_lease_request world_request(uint64_t ino, uint64_t offset,
					      uint64_t length, uint32_t mode,
					      uint32_t flags)
{
	return (struct cfs_lease_request){
		.resource = { 1, 2, ino, offset, length },
		.mode = mode,
		.flags = flags,
	};
}

/* Asked for, and what that leads to done. */
static struct cfs_lease *world_ask(unsigned int i,
				   const struct cfs_lease_request *req)
{
	struct cfs_lease *lease = NULL;

	assert_int_equal(cfs_lease_client_acquire(world.clients[i].client, req,
						  &lease, NULL),
			 0);
	world_run();
	return lease;
}

static inline struct cfs_lease *world_file(unsigned int i, uint64_t ino,
					   uint32_t mode, uint32_t flags)
{
	struct cfs_lease_request req = world_request(ino, 0, WHOLE, mode,
						     CFS_MSG_LOCK_WAIT | flags);

	return world_ask(i, &req);
}

static bool is_held(const struct cfs_lease *lease)
{
	return cfs_lease_state_of(lease) == CFS_LEASE_HELD;
}
