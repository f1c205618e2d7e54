/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Made-up hosts and processes that want a pool, for tests of who may hold it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "pool_fixture.h"

struct host {
	struct cfs_identity self;
	uint64_t alive_pid, alive_start;
};

static inline void host_self(void *arg, struct cfs_identity *ret)
{
	*ret = ((struct host *)arg)->self;
}

static inline bool host_is_alive(void *arg, uint64_t pid, uint64_t start)
{
	const struct host *host = arg;

	return pid == host->alive_pid && start == host->alive_start;
}

static inline struct host host_named(const char *name, uint8_t boot,
				     uint64_t pid)
{
	struct host host = { .self = { .pid = pid, .process_start = 1000 } };

	memset(host.self.boot_id, boot, sizeof(host.self.boot_id));
	strcpy(host.self.host, name);
	return host;
}

struct world {
	struct cfs_clock_manual clock;
	struct cfs_identity_source source;
	struct cfs_holder_options opt;
};

/* @world stays where it is while a holder lives. */
static inline void world_init(struct world *world, struct host *host)
{
	cfs_clock_manual_init(&world->clock, 0, UINT64_C(1700000000000000000));
	world->source = (struct cfs_identity_source){
		.self = host_self,
		.is_alive = host_is_alive,
		.arg = host,
	};
	world->opt = (struct cfs_holder_options){
		.identity = &world->source,
		.clock = &world->clock.clock,
	};
}

/* The same devices by another set of handles, as another process has them. */
static inline struct cfs_devset *reopen(struct cfs_devset *set,
					bool is_writable)
{
	const struct cfs_devset_options opt = { .is_writable = is_writable };
	struct cfs_dev *devices[POOL_FIXTURE_MAX];
	uint32_t i, count = 0;
	struct cfs_devset *again;

	for (i = 0; i < cfs_devset_count(set); i++)
		if (cfs_devset_dev(set, i))
			assert_int_equal(
				cfs_dev_mem_reopen(cfs_devset_dev(set, i),
						   &devices[count++], NULL),
				0);
	assert_int_equal(
		cfs_devset_from_devices(devices, count, &opt, &again, NULL), 0);
	return again;
}

static inline struct cfs_devset *pool(uint32_t count, uint32_t flags)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set = pool_fixture_mem(count, POOL_FIXTURE_BYTES,
						  flags, &err);

	if (!set)
		fail_msg("%s", err.msg);
	return set;
}

static inline int try_hold(struct cfs_devset *set, struct host *host,
			   struct cfs_err *err)
{
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;
	int r;

	world_init(&world, host);
	r = cfs_holder_acquire(set, &world.opt, &h, &seat, err);
	if (r == 0)
		assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	return r;
}
