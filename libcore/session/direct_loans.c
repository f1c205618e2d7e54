/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Groups on loan, ahead of need: who writes much finds the next ones there, and
 * does not wait for the manager's disk.
 *
 * What was lent ahead is ours like the rest, durably; the container hears of it
 * when it asks.  What it does not ask for goes back with a fold, when the
 * manager wants it or nobody has asked for a while, and at the end anyway.
 */
#include "session/direct_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define MUCH	32u	/* groups that were asked for at once */
#define AHEAD	256u	/* that are had ready, at most: 128 MiB */

static int borrow(struct direct_container *dc, uint32_t count,
		  struct cfs_loans *loans, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	int r = direct_ask(dc, CFS_DIRECT_LEND, count, &reply, err);

	__atomic_add_fetch(&dc->d->stats.lends, 1, __ATOMIC_RELAXED);
	return r < 0 ? r : cfs_loans_unpack(reply.data, reply.bytes, loans,
					    err);
}

/* With the mutex: what is there, and the next ones are wanted. */
static bool take_ahead(struct direct_container *dc, uint32_t count,
		       struct cfs_loans *loans)
{
	bool has_some;

	while (dc->is_borrowing)
		pthread_cond_wait(&dc->d->changed, &dc->d->mutex);
	has_some = dc->ahead.count > 0;
	if (has_some) {
		*loans = dc->ahead;
		memset(&dc->ahead, 0, sizeof(dc->ahead));
	}
	dc->is_idle = false;
	dc->ahead_count = count < MUCH ? 0 : CFS_MIN(count, AHEAD);
	pthread_cond_broadcast(&dc->d->changed);
	return has_some;
}

int direct_lend(void *ctx, uint32_t count, struct cfs_loans *loans,
		struct cfs_err *err)
{
	struct direct_container *dc = ctx;
	bool has_some = false;

	pthread_mutex_lock(&dc->d->mutex);
	if (loans->count == 0)
		has_some = take_ahead(dc, count, loans);
	pthread_mutex_unlock(&dc->d->mutex);
	return has_some ? 0 : borrow(dc, count, loans, err);
}

void direct_borrow(struct direct_container *dc)
{
	struct cfs_loans loans = { .count = 0 };
	uint32_t count;
	int r = 0;

	pthread_mutex_lock(&dc->d->mutex);
	count = dc->ahead_count;
	dc->ahead_count = 0;
	dc->is_borrowing = count && !dc->ahead.count;
	if (!dc->is_borrowing)
		count = 0;
	pthread_mutex_unlock(&dc->d->mutex);
	/* That there is none is for whoever needs it to find out. */
	if (count)
		r = borrow(dc, count, &loans, NULL);
	pthread_mutex_lock(&dc->d->mutex);
	if (count && r == 0)
		dc->ahead = loans;
	dc->is_borrowing = false;
	pthread_cond_broadcast(&dc->d->changed);
	pthread_mutex_unlock(&dc->d->mutex);
	if (r < 0)
		cfs_loans_donep(&loans);
}

int direct_loans_return(struct direct_container *dc, const uint64_t *keys,
			size_t count, uint64_t **ret, size_t *ret_count)
{
	struct cfs_loans ahead;
	uint64_t *all;

	pthread_mutex_lock(&dc->d->mutex);
	ahead = dc->ahead;
	memset(&dc->ahead, 0, sizeof(dc->ahead));
	pthread_mutex_unlock(&dc->d->mutex);
	all = malloc((count + ahead.count + 1) * sizeof(*all));
	if (all && count)
		memcpy(all, keys, count * sizeof(*all));
	for (size_t i = 0; all && i < ahead.count &&
	     count < CFS_FOLD_RETURNS_MAX; i++)
		all[count++] = ahead.items[i].key;
	cfs_loans_donep(&ahead);
	if (!all)
		return -ENOMEM;
	*ret = all;
	*ret_count = count;
	return 0;
}
