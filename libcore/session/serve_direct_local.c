/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our own reads and writes of LUNs, for ourselves and for those who ask us to:
 * under leases like those of clients, as soon as anybody can ask for a lease.
 * Before that they need none; the gate is held meanwhile, so that whoever
 * begins to answer, and the first client, waits until they have ended.
 */
#include "session/serve_direct_priv.h"
#include "session/serve_lease.h"

#include "base/clock.h"

#include <string.h>

static int acquire(void *arg, const struct cfs_lease_request *req,
		   const struct cfs_conn_wait *wait, struct cfs_held **ret,
		   struct cfs_err *err)
{
	struct cfs_serve_direct *sd = arg;
	struct cfs_lease_request own = *req;

	cfs_serve_volume_borrow(sd->s, &own);
	return cfs_serve_lease_words(
		cfs_leaser_acquire(sd->leaser, &own, wait, ret, err), err);
}

static struct cfs_leaser *get_leaser(void *arg)
{
	struct cfs_serve_direct *sd = arg;

	return __atomic_load_n(&sd->leaser, __ATOMIC_ACQUIRE);
}

/* What this process has written is everybody's with the next view. */
static int settle(void *arg, uint64_t container)
{
	(void)arg;
	(void)container;
	return 0;
}

static void lost(void *arg, uint64_t container)
{
	(void)arg;
	(void)container;
}

static void will_wait(void *arg)
{
	(void)arg;
	(void)cfs_serve_will_wait();
}

int beside_local_init(struct cfs_serve_direct *sd, struct cfs_err *err)
{
	const struct cfs_direct_lock_ops ops = {
		.acquire = acquire,
		.leaser = get_leaser,
		.settle = settle,
		.lost = lost,
		.will_wait = will_wait,
		.arg = sd,
	};
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&sd->gate, &attr);
	pthread_rwlockattr_destroy(&attr);
	return cfs_direct_locks_new(&ops, &sd->locks, err);
}

/* For the first access beside a client. */
static int make_leaser(struct cfs_serve_direct *sd, struct cfs_err *err)
{
	const struct cfs_leaser_hooks hooks = {
		.recall = cfs_direct_locks_recall,
		.lost = cfs_direct_locks_lost,
		.arg = sd->locks,
	};
	struct cfs_lease_client_config config = { .cached_max = 0 };
	struct cfs_leaser *leaser = NULL;
	int r = 0;

	static const char name[] = "data of the manager";
	static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

	memcpy(config.hello.name, name, sizeof(name));
	pthread_mutex_lock(&making);
	if (!get_leaser(sd)) {
		r = cfs_serve_add_client(sd->serve, &config, &hooks, NULL,
					 &leaser, err);
		if (r == 0)
			__atomic_store_n(&sd->leaser, leaser, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&making);
	return r;
}

static bool has_writers(struct cfs_serve_direct *sd, uint64_t container)
{
	struct beside_client *c;
	const struct beside_member *dm = NULL;

	if (!cfs_serve_direct_has_clients(sd))
		return false;
	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c && !dm; c = c->next)
		for (dm = c->members; dm; dm = dm->next)
			if (dm->m->id == container && !dm->is_settled)
				break;
	pthread_mutex_unlock(&sd->mutex);
	return dm;
}

void cfs_serve_direct_answer(struct cfs_serve_direct *sd, bool answers)
{
	pthread_rwlock_wrlock(&sd->gate);
	__atomic_store_n(&sd->answers, answers, __ATOMIC_SEQ_CST);
	pthread_rwlock_unlock(&sd->gate);
}

static bool needs_lease(struct cfs_serve_direct *sd, uint64_t container)
{
	return __atomic_load_n(&sd->answers, __ATOMIC_SEQ_CST) ||
	       has_writers(sd, container);
}

/* Who has given up waits no longer. */
static bool is_cancelled(void *arg)
{
	(void)arg;
	return cfs_serve_is_cancelled();
}

int cfs_serve_direct_begin(struct cfs_serve_direct *sd,
			   const struct cfs_lock_resource *of, bool writes,
			   struct cfs_direct_access *ret, uint64_t *ret_bytes,
			   struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = cfs_serve_patience(),
		.stop = is_cancelled,
	};
	const struct cfs_use_actor *actor;
	struct cfs_direct_want want = {
		.wait = &wait,
		.container = of->container,
		.volume = of->volume,
		.ino = of->ino,
		.offset_bytes = of->offset_bytes,
		.writes = writes,
	};
	uint64_t end, grant;
	int r;

	*ret = (struct cfs_direct_access){ .sd = sd };
	*ret_bytes = of->length_bytes;
	if (!sd)
		return 0;
	pthread_rwlock_rdlock(&sd->gate);
	ret->has_gate = !needs_lease(sd, of->container);
	if (ret->has_gate)
		return 0;
	__atomic_add_fetch(&sd->leased, 1, __ATOMIC_SEQ_CST);
	pthread_rwlock_unlock(&sd->gate);
	actor = cfs_serve_actor();
	if (actor && actor->lender.lease_id)
		want.lender = &actor->lender;
	r = make_leaser(sd, err);
	if (r == 0)
		r = cfs_direct_lock_get(sd->locks, &want, &ret->lock, &end,
					&grant, err);
	if (r == 0)
		*ret_bytes = CFS_MIN(of->length_bytes, end - of->offset_bytes);
	else
		__atomic_sub_fetch(&sd->leased, 1, __ATOMIC_SEQ_CST);
	return r;
}

void cfs_serve_direct_end(struct cfs_direct_access *access)
{
	if (access->has_gate)
		pthread_rwlock_unlock(&access->sd->gate);
	if (!access->lock)
		return;
	cfs_direct_lock_put(access->sd->locks, access->lock, false);
	__atomic_sub_fetch(&access->sd->leased, 1, __ATOMIC_SEQ_CST);
}

void cfs_serve_direct_drop(struct cfs_serve_direct *sd, uint64_t container,
			   uint64_t volume)
{
	if (sd && sd->locks)
		cfs_direct_locks_drop(sd->locks, container, volume);
}

void beside_local_stop(struct cfs_serve_direct *sd)
{
	struct cfs_leaser *leaser = get_leaser(sd);
	struct cfs_clock *clock = cfs_clock_system();

	/* What is under way ends; what comes needs none any more. */
	cfs_serve_direct_answer(sd, false);
	while (__atomic_load_n(&sd->leased, __ATOMIC_SEQ_CST))
		cfs_clock_sleep_until(clock, beside_now() + CFS_NS_PER_MS);
	if (sd->locks)
		cfs_direct_locks_free(sd->locks);
	sd->locks = NULL;
	if (leaser)
		cfs_serve_drop_client(sd->serve, leaser);
	__atomic_store_n(&sd->leaser, NULL, __ATOMIC_RELEASE);
}

void beside_local_done(struct cfs_serve_direct *sd)
{
	beside_local_stop(sd);
	pthread_rwlock_destroy(&sd->gate);
}
