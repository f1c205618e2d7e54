/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Hosts that share a pool on simulated devices: each has handles of its own,
 * which can hold its writes back, a clock, and a name.  Include after
 * <cmocka.h>.
 */
#pragma once

#include "device/sim.h"
#include "gate_device.h"
#include "heal/scrub.h"
#include "heal_fixture.h"
#include "pool/shared.h"
#include "pool_hosts.h"
#include "session/format.h"
#include "session/session.h"

#define SHARED_DEVICES_MAX 3u
#define SHARED_BYTES       (UINT64_C(96) << 20)
#define LUN_BYTES          (UINT64_C(4) << 20)

struct shared_pool {
	struct cfs_sim *sim;
	unsigned int devices;
	struct cfs_clock_manual clock;
};

struct manager {
	struct host host;
	struct cfs_identity_source source;
	struct cfs_holder_watch watch;
	struct cfs_devset *set;
	struct cfs_dev *gate[SHARED_DEVICES_MAX]; /* or NULL */
	struct cfs_holder *holder;
	struct cfs_seat seat;
	struct cfs_pool *pool;
};

/* Devices of @bytes. */
static inline struct shared_pool shared_new_of(unsigned int devices,
					       bool is_mirror, uint64_t bytes)
{
	static const char *const names[] = { "0", "1", "2" };
	struct cfs_format_options opt = {
		.devices = names,
		.device_count = devices,
		.is_shared = true,
		.is_mirror = is_mirror,
		.slice_bytes = UINT64_C(1) << 20,
	};
	struct shared_pool p = { .devices = devices };
	struct cfs_dev *list[SHARED_DEVICES_MAX];
	struct cfs_format_result result;
	struct cfs_err err = CFS_ERR_INIT;

	cfs_clock_manual_init(&p.clock, 1, UINT64_C(1700000000000000000));
	HEAL_OK(cfs_sim_new(&p.sim, &err_));
	for (unsigned int i = 0; i < devices; i++)
		HEAL_OK(cfs_sim_dev_new(p.sim, bytes, &list[i], &err_));
	if (cfs_format_devices(list, &opt, &result, &err) < 0)
		fail_msg("%s", err.msg);
	return p;
}

static inline struct shared_pool shared_new(unsigned int devices,
					    bool is_mirror)
{
	return shared_new_of(devices, is_mirror, SHARED_BYTES);
}

/*
 * @missing: a device that this host does not see; UINT32_MAX: none.  @gate: its
 * devices are behind one; may be NULL.
 */
static inline void manager_init(struct shared_pool *p, struct manager *m,
				const char *name, uint8_t boot,
				unsigned int missing, struct gate_world *gate)
{
	const uint64_t pid = 1000;
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *list[SHARED_DEVICES_MAX];
	unsigned int n = 0;

	memset(m, 0, sizeof(*m));
	m->host = host_named(name, boot, pid);
	m->host.alive_pid = pid;
	m->host.alive_start = m->host.self.process_start;
	m->source = (struct cfs_identity_source){
		.self = host_self,
		.is_alive = host_is_alive,
		.arg = &m->host,
	};
	for (unsigned int i = 0; i < p->devices; i++) {
		if (i == missing)
			continue;
		HEAL_OK(cfs_sim_dev_open(p->sim, i, &list[n], &err_));
		if (gate)
			list[n] = m->gate[n] = gate_new(gate, list[n]);
		n++;
	}
	HEAL_OK(cfs_devset_from_devices(list, n, &opt, &m->set, &err_));
}

static inline int manager_hold(struct shared_pool *p, struct manager *m,
			       unsigned int wait_seconds, const char *gone,
			       struct cfs_err *err)
{
	const struct cfs_holder_options opt = {
		.wait_seconds = wait_seconds,
		.gone_host = gone,
		.identity = &m->source,
		.clock = &p->clock.clock,
		.beats_by_hand = true,
	};

	return cfs_holder_acquire(m->set, &opt, &m->holder, &m->seat, err);
}

static inline int manager_pool(struct manager *m, bool was_clean,
			       struct cfs_err *err)
{
	const struct cfs_pool_options opt = {
		.was_clean = was_clean,
		.holder = m->holder,
	};

	return cfs_pool_open(m->set, m->seat.epoch, m->seat.roots, &opt,
			     &m->pool, err);
}

static inline void manager_open(struct shared_pool *p, struct manager *m,
				const char *gone)
{
	struct cfs_err err = CFS_ERR_INIT;

	if (manager_hold(p, m, 0, gone, &err) < 0)
		fail_msg("hold: %s", err.msg);
	if (manager_pool(m, false, &err) < 0)
		fail_msg("open: %s", err.msg);
}

static inline struct cfs_member *manager_lun(struct manager *m)
{
	struct cfs_member *lun;

	HEAL_OK(cfs_pool_member(m->pool, "lun", &lun, &err_));
	return lun;
}

static inline struct cfs_member *manager_make_lun(struct manager *m)
{
	struct cfs_member *lun;

	HEAL_OK(cfs_pool_container_make(m->pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &lun, &err_));
	HEAL_OK(cfs_volume_make_first(lun, CFS_VOLUME_LUN, LUN_BYTES, &err_));
	return lun;
}

/* Blocks of a LUN from @seed; not synced. */
static inline int lun_write(struct cfs_member *m, uint64_t block,
			    uint32_t count, uint64_t seed)
{
	struct cfs_volume_rec rec;
	uint8_t *buf = malloc((size_t)count * HEAL_BLOCK);
	int r = cfs_volume_get(m, CFS_VOLUME_FIRST, &rec, NULL);

	assert_non_null(buf);
	heal_fill(buf, (size_t)count * HEAL_BLOCK, seed);
	if (r == 0)
		r = cfs_op_begin(m->container, CFS_OP_NORMAL, NULL);
	if (r == 0) {
		r = cfs_data_write(m->container, (uint16_t)rec.head_branch,
				   rec.ino, block * HEAL_BLOCK, buf,
				   (size_t)count * HEAL_BLOCK, NULL);
		if (r < 0)
			cfs_op_abort(m->container);
		else
			cfs_op_end(m->container);
	}
	free(buf);
	return r;
}

static inline void manager_close(struct manager *m)
{
	struct cfs_err err = CFS_ERR_INIT;

	if (m->pool && cfs_pool_close(m->pool, &err) < 0)
		fail_msg("close: %s", err.msg);
	if (m->holder)
		HEAL_OK(cfs_holder_release(m->holder, true, &err_));
	cfs_devset_close(m->set);
	m->holder = NULL;
	m->pool = NULL;
	m->set = NULL;
}

static inline void shared_free(struct shared_pool *p)
{
	cfs_sim_free(p->sim);
}

/* Behind everything of its pool. */
static inline void manager_free_gates(struct manager *m)
{
	for (unsigned int i = 0; i < SHARED_DEVICES_MAX; i++)
		if (m->gate[i])
			gate_free(m->gate[i]);
}

/* As a process that is killed; nothing of it is on its way. */
static inline void manager_drop(struct manager *m)
{
	cfs_pool_drop(m->pool);
	if (m->holder)
		HEAL_OK(cfs_holder_release(m->holder, false, &err_));
	m->host.alive_pid = 0;
	cfs_devset_close(m->set);
	m->holder = NULL;
	m->pool = NULL;
	m->set = NULL;
}

static inline int print_problem(void *arg, const struct cfs_problem *p)
{
	(void)arg;
	print_message("# %s: %s: %s\n", p->kind, p->container, p->text);
	return 0;
}

static inline void manager_check(struct manager *m)
{
	struct cfs_check_result result;
	const struct cfs_check_options opt = { .each = print_problem };

	HEAL_OK(cfs_pool_check(m->pool, &opt, &result, &err_));
	assert_int_equal(result.problems, 0);
}

static inline int print_damage(void *arg, const struct cfs_damage *d)
{
	(void)arg;
	print_message("# %s: %s in %s\n", d->kind, d->cause, d->container);
	return 0;
}

/* There is nothing bad, whatever may be left out as others write it. */
static inline void manager_scrub(struct manager *m)
{
	const struct cfs_scrub_options opt = { .heals = true };
	const struct cfs_scrub_calls calls = { .each = print_damage };
	struct cfs_scrub_result result;

	HEAL_OK(cfs_pool_scrub(m->pool, NULL, &opt, &calls, &result, &err_));
	assert_int_equal(result.bad_blocks, 0);
}
