/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A primary and a secondary on simulated devices, which ask each other by
 * calls.  Include after <cmocka.h>.
 */
#pragma once

#include "shared_fixture.h"
#include "base/cleanup.h"
#include "volume/pool_delegate.h"

#define NO_DEVICE      UINT32_MAX
#define DELEGATE_BYTES (UINT64_C(96) << 20)

static inline struct shared_pool delegate_pool_new(bool is_shared,
						   unsigned int devices)
{
	static const char *const names[] = { "0", "1", "2" };
	struct cfs_format_options opt = {
		.devices = names,
		.device_count = devices,
		.is_shared = is_shared,
		.is_mirror = devices > 1,
		.slice_bytes = UINT64_C(1) << 20,
	};
	struct shared_pool p = { .devices = devices };
	struct cfs_dev *list[SHARED_DEVICES_MAX];
	struct cfs_format_result result;
	struct cfs_err err = CFS_ERR_INIT;

	cfs_clock_manual_init(&p.clock, 1, UINT64_C(1700000000000000000));
	HEAL_OK(cfs_sim_new(&p.sim, &err_));
	for (unsigned int i = 0; i < devices; i++)
		HEAL_OK(cfs_sim_dev_new(p.sim, DELEGATE_BYTES, &list[i],
					&err_));
	if (cfs_format_devices(list, &opt, &result, &err) < 0)
		fail_msg("%s", err.msg);
	return p;
}

/* A secondary, with handles of its own. */
struct secondary {
	struct manager *primary; /* who is asked; NULL: nobody answers */
	struct cfs_devset *set;
	struct cfs_dev *gate[SHARED_DEVICES_MAX];
	uint64_t container;
	uint32_t epoch;
	bool has_lease;
	struct cfs_pool *pool;
	struct cfs_member *lun;
	unsigned int asked;
};

static inline int secondary_more(void *ctx, unsigned int count,
				 struct cfs_lent_slices *ret,
				 struct cfs_err *err)
{
	struct secondary *s = ctx;

	s->asked++;
	if (!s->primary)
		return cfs_err_set(err, -ENOSPC, "nobody answers");
	return cfs_pool_delegation_lend(s->primary->pool, s->container,
					s->epoch, CFS_MIN(count, 2u), ret, err);
}

static inline int secondary_give(void *ctx, uint64_t lslice,
				 struct cfs_err *err)
{
	struct secondary *s = ctx;

	if (!s->primary)
		return cfs_err_set(err, -EIO, "nobody answers");
	return cfs_pool_delegation_take(s->primary->pool, s->container,
					s->epoch, lslice, err);
}

static inline bool secondary_may_ack(void *ctx)
{
	const struct secondary *s = ctx;

	return s->has_lease;
}

static inline struct cfs_delegation_rec delegate_who(uint8_t number)
{
	struct cfs_delegation_rec rec = {
		.who = { .host = "s", .pid = number, .process_start = 1 },
		.since_ns = 1,
		.address = "unix:/nowhere",
	};

	memset(rec.who.instance, number, sizeof(rec.who.instance));
	memset(rec.who.boot_id, 0x55, sizeof(rec.who.boot_id));
	return rec;
}

/* The records only; nobody has opened it yet. */
static inline uint32_t delegate_lun(struct manager *primary,
				    uint64_t *ret_container)
{
	const struct cfs_delegation_rec who = delegate_who(1);
	struct cfs_member *lun = manager_lun(primary);
	uint32_t epoch = 0;

	*ret_container = lun->id;
	HEAL_OK(cfs_pool_delegate(primary->pool, lun, &who, 4, &epoch, &err_));
	return epoch;
}

static inline void secondary_devices(struct shared_pool *p, struct secondary *s,
				     struct gate_world *gate)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *list[SHARED_DEVICES_MAX];

	for (unsigned int i = 0; i < p->devices; i++) {
		HEAL_OK(cfs_sim_dev_open(p->sim, i, &list[i], &err_));
		if (gate)
			list[i] = s->gate[i] = gate_new(gate, list[i]);
	}
	HEAL_OK(cfs_devset_from_devices(list, p->devices, &opt, &s->set,
					&err_));
}

/* As what the primary says of the delegation; through bytes, as in a message.
 */
static inline int secondary_open(struct secondary *s, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	const struct cfs_pool_lender lender = {
		.more = secondary_more,
		.give = secondary_give,
		.may_ack = secondary_may_ack,
		.ctx = s,
	};
	const struct cfs_pool_options opt = { .was_clean = true };
	struct cfs_pool_grant grant, said;
	int r = cfs_pool_delegation_grant(s->primary->pool, s->container,
					  s->epoch, &said, err);

	if (r < 0)
		return r;
	assert_int_equal(cfs_pool_grant_pack(&said, &buf), 0);
	cfs_pool_grant_donep(&said);
	HEAL_OK(cfs_pool_grant_unpack(buf.data, buf.bytes, &grant, &err_));
	r = cfs_pool_open_delegated(s->set, &grant, &lender, &opt, &s->pool,
				    err);
	cfs_pool_grant_donep(&grant);
	return r < 0 ? r : cfs_pool_member(s->pool, "lun", &s->lun, err);
}

static inline void secondary_begin(struct shared_pool *p, struct secondary *s,
				   struct manager *primary,
				   struct gate_world *gate)
{
	struct cfs_err err = CFS_ERR_INIT;

	memset(s, 0, sizeof(*s));
	s->primary = primary;
	s->has_lease = true;
	s->epoch = delegate_lun(primary, &s->container);
	secondary_devices(p, s, gate);
	if (secondary_open(s, &err) < 0)
		fail_msg("open: %s", err.msg);
}

/* Close it all, and tell nobody. */
static inline void secondary_close(struct secondary *s)
{
	HEAL_OK(cfs_pool_close(s->pool, &err_));
	cfs_devset_close(s->set);
	s->pool = NULL;
}

static inline void secondary_drop(struct secondary *s)
{
	cfs_pool_drop(s->pool);
	cfs_devset_close(s->set);
	s->pool = NULL;
}

static inline void secondary_free_gates(struct secondary *s)
{
	for (unsigned int i = 0; i < SHARED_DEVICES_MAX; i++)
		if (s->gate[i])
			gate_free(s->gate[i]);
}
