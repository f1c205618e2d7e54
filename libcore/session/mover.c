/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/mover.h"

#include "session/devices.h"
#include "session/session_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "volume/pool_move.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_NS (2 * CFS_NS_PER_S)

struct cfs_mover {
	struct cfs_session *s;
	const struct cfs_logger *logger;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool is_ending;
	bool is_wanted;
	bool is_idle;
	uint32_t replaced; /* to be taken out; or CFS_POOL_NO_DEVICE */
};

static bool has_stopped(void *arg)
{
	struct cfs_mover *m = arg;
	bool is;

	pthread_mutex_lock(&m->lock);
	is = m->is_ending;
	pthread_mutex_unlock(&m->lock);
	return is;
}

/* The next device that is to be emptied; false: none. */
static bool find_next(struct cfs_mover *m, uint32_t *ret)
{
	struct cfs_session *s = m->s;
	bool is_found = false;

	pthread_rwlock_rdlock(s->structure);
	for (uint32_t i = 0; !is_found && i < cfs_devset_count(s->set); i++) {
		struct cfs_slice_counts n;
		struct cfs_device_rec rec;

		if (cfs_devset_is_removed(s->set, i) ||
		    cfs_pool_device_rec(s->pool, i, &rec, NULL) != 0 ||
		    rec.state != CFS_DEVICE_EVACUATING ||
		    cfs_pool_slice_counts(s->pool, i, &n, NULL) != 0 ||
		    n.used == 0)
			continue;
		*ret = i;
		is_found = true;
	}
	pthread_rwlock_unlock(s->structure);
	return is_found;
}

static uint32_t take_replaced(struct cfs_mover *m)
{
	uint32_t index;

	pthread_mutex_lock(&m->lock);
	index = m->replaced;
	m->replaced = CFS_POOL_NO_DEVICE;
	pthread_mutex_unlock(&m->lock);
	return index;
}

/* 1: there is nothing left to do. */
static int do_next(struct cfs_mover *m, struct cfs_err *err)
{
	const struct cfs_session_options calls = {
		.stop = has_stopped,
		.arg = m,
	};
	uint32_t index = take_replaced(m);
	int r;

	if (index != CFS_POOL_NO_DEVICE) {
		r = cfs_local_move_rest(m->s, &calls, index, true, err);
		if (r < 0) {
			pthread_mutex_lock(&m->lock);
			m->replaced = index;
			pthread_mutex_unlock(&m->lock);
		}
		return r;
	}
	if (!find_next(m, &index))
		return 1;
	return cfs_local_move_rest(m->s, &calls, index, false, err);
}

static void wait_for_more(struct cfs_mover *m, bool is_busy)
{
	pthread_mutex_lock(&m->lock);
	m->is_idle = !is_busy && !m->is_wanted;
	while (!m->is_ending && !m->is_wanted) {
		if (!is_busy)
			pthread_cond_wait(&m->changed, &m->lock);
		else if (cfs_cond_wait_ns(&m->changed, &m->lock, AGAIN_NS) < 0)
			break;
	}
	m->is_wanted = false;
	m->is_idle = false;
	pthread_mutex_unlock(&m->lock);
}

bool cfs_mover_is_idle(struct cfs_mover *m)
{
	bool is;

	pthread_mutex_lock(&m->lock);
	is = m->is_idle && !m->is_wanted;
	pthread_mutex_unlock(&m->lock);
	return is;
}

static void *run(void *arg)
{
	struct cfs_mover *m = arg;

	while (!has_stopped(m)) {
		struct cfs_err err = CFS_ERR_INIT;
		int r = do_next(m, &err);

		if (r == 0)
			continue;
		if (r < 0 && r != -EBUSY && r != -EINTR && r != -ECANCELED)
			cfs_logger_printf(m->logger, CFS_LOG_WARNING,
					  "slices cannot be moved: %s",
					  err.msg);
		wait_for_more(m, r == -EBUSY);
	}
	return NULL;
}

int cfs_mover_new(struct cfs_session *s, const struct cfs_logger *logger,
		  struct cfs_mover **ret, struct cfs_err *err)
{
	struct cfs_mover *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	m->s = s;
	m->logger = logger;
	m->replaced = CFS_POOL_NO_DEVICE;
	pthread_mutex_init(&m->lock, NULL);
	cfs_cond_init(&m->changed);
	r = pthread_create(&m->thread, NULL, run, m);
	if (r != 0) {
		pthread_cond_destroy(&m->changed);
		pthread_mutex_destroy(&m->lock);
		free(m);
		return cfs_err_errno(err, -r, "thread");
	}
	*ret = m;
	return 0;
}

void cfs_mover_wake(struct cfs_mover *m, uint32_t replaced)
{
	pthread_mutex_lock(&m->lock);
	m->is_wanted = true;
	if (replaced != CFS_POOL_NO_DEVICE)
		m->replaced = replaced;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

void cfs_mover_free(struct cfs_mover *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->is_ending = true;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
