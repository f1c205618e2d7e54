/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/commit_hold.h"

#include "base/clock.h"
#include "base/cond.h"

#include <errno.h>

static __thread unsigned int depth; /* commits that this thread is in */

static uint64_t now(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

void cfs_commit_holds_init(struct cfs_commit_holds *h)
{

	pthread_mutex_init(&h->lock, NULL);
	cfs_cond_init(&h->changed);
	h->first = NULL;
	h->committing = 0;
}

void cfs_commit_holds_done(struct cfs_commit_holds *h)
{
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
}

/* How long the longest of the holds still lasts. */
static uint64_t left_ns(const struct cfs_commit_holds *h)
{
	const uint64_t now_ns = now();
	uint64_t left = 0;

	for (const struct cfs_commit_hold *i = h->first; i; i = i->next)
		if (i->until_ns > now_ns && i->until_ns - now_ns > left)
			left = i->until_ns - now_ns;
	return left;
}

void cfs_commit_begin(struct cfs_commit_holds *h)
{
	uint64_t left;

	pthread_mutex_lock(&h->lock);
	while (depth == 0 && (left = left_ns(h)) > 0)
		(void)cfs_cond_wait_ns(&h->changed, &h->lock, left);
	h->committing++;
	depth++;
	pthread_mutex_unlock(&h->lock);
}

void cfs_commit_end(struct cfs_commit_holds *h)
{
	pthread_mutex_lock(&h->lock);
	h->committing--;
	depth--;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

int cfs_commit_hold(struct cfs_commit_holds *h, struct cfs_commit_hold *hold,
		    uint64_t wait_ns, uint64_t max_ns)
{
	const uint64_t end_ns = cfs_deadline_add(now(), wait_ns);
	uint64_t now_ns;

	pthread_mutex_lock(&h->lock);
	while (h->committing > 0 && (now_ns = now()) < end_ns)
		(void)cfs_cond_wait_ns(&h->changed, &h->lock, end_ns - now_ns);
	if (h->committing > 0) {
		pthread_mutex_unlock(&h->lock);
		return -EBUSY;
	}
	hold->until_ns = cfs_deadline_add(now(), max_ns);
	hold->next = h->first;
	h->first = hold;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

bool cfs_commit_release(struct cfs_commit_holds *h,
			struct cfs_commit_hold *hold)
{
	struct cfs_commit_hold **at;
	bool held;

	pthread_mutex_lock(&h->lock);
	for (at = &h->first; *at != hold; at = &(*at)->next)
		;
	*at = hold->next;
	held = hold->until_ns > now();
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	return held;
}
