/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who listens to the kernel while others answer it.
 *
 * A call may wait for others' leases or for the disk, so it must never be that
 * all answer and nobody listens for long.  But each thread more that listens
 * costs those who call one thing after the other: the kernel wakes them in
 * turn, each on another processor and with nothing of the tree in its caches,
 * and what nobody waits for (the end of an open file, a forgotten node) is
 * answered beside the next call, in its way.  So there are two manners:
 *
 * - narrow, as it begins: one thread listens and answers, and nobody listens
 *   while it does.  One of those that rest looks every millisecond whether it
 *   is still at the same call, and listens in its place then;
 * - wide, once calls have met each other: somebody always listens.
 *
 * What must stay true: while a call is being answered, somebody listens, or
 * somebody rests who is the guard or was told to be.
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/cond.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#define LISTEN_MAX  4u /* those who listen, when wide */
#define REST_MAX    2u
#define GUARD_TURNS 10u /* without a call, and nobody is guard */
#define GUARD_NS    CFS_NS_PER_MS
#define THREADS_MAX                                                            \
	(sizeof(((struct mnt_crew *)0)->threads) /                             \
	 sizeof(((struct mnt_crew *)0)->threads[0]))

/* How much calls have met lately: each that did weighs as much as some that
 * did not. */
#define MET_MAX  64u
#define MET_WIDE 32u
#define MET_STEP 4u

/* The call of this thread: somebody waits for it; it has met another. */
static _Thread_local bool is_answering, has_met;

struct worker {
	struct mnt *m;
	unsigned int index;
};

void mnt_crew_init(struct mnt_crew *c)
{
	pthread_mutex_init(&c->lock, NULL);
	cfs_cond_init(&c->changed);
	cfs_cond_init(&c->wanted);
}

/* ---- life of a thread ---------------------------------------------------- */

static void *work(void *arg)
{
	struct worker w = *(struct worker *)arg;
	struct mnt_crew *c = &w.m->crew;
	bool is_listening;

	free(arg);
	is_listening = mnt_loop_answer(w.m);
	pthread_mutex_lock(&c->lock);
	c->listening -= is_listening;
	c->thread_count--;
	/* Whoever waits for all of them joins them. */
	if (!atomic_load(&w.m->is_ending)) {
		c->is_running[w.index] = false;
		pthread_detach(pthread_self());
	}
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* With the lock.  A failure leaves one fewer. */
static void add_worker(struct mnt *m)
{
	struct mnt_crew *c = &m->crew;
	struct worker *w;
	unsigned int i;

	for (i = 0; i < THREADS_MAX && c->is_running[i]; i++)
		;
	if (i == THREADS_MAX || atomic_load(&m->is_ending))
		return;
	w = malloc(sizeof(*w));
	if (!w)
		return;
	*w = (struct worker){ .m = m, .index = i };
	if (pthread_create(&c->threads[i], NULL, work, w) != 0) {
		free(w);
		return;
	}
	c->is_running[i] = true;
	c->thread_count++;
	c->listening++;
}

int mnt_crew_begin(struct mnt *m, struct cfs_err *err)
{
	int r = 0;

	pthread_mutex_lock(&m->crew.lock);
	add_worker(m);
	if (!m->crew.thread_count)
		r = cfs_err_set(err, -EAGAIN, "no thread could be started");
	pthread_mutex_unlock(&m->crew.lock);
	return r;
}

/* ---- resting ------------------------------------------------------------- */

/* With the lock: one that rests listens from now on; counted as if it did. */
static void call_rested(struct mnt_crew *c)
{
	c->called++;
	c->listening++;
	pthread_cond_signal(&c->wanted);
}

/* With the lock, for a moment: has the one that answers come any further? */
static void guard(struct mnt *m)
{
	struct mnt_crew *c = &m->crew;
	const uint64_t begun = c->begun;

	c->has_guard = true;
	(void)cfs_cond_wait_ns(&c->wanted, &c->lock, GUARD_NS);
	c->has_guard = false;
	if (c->called || atomic_load(&m->is_ending))
		return;
	if (c->begun != begun) {
		c->guard_turns = GUARD_TURNS;
	} else if (!c->listening) {
		c->met = MET_MAX;
		atomic_store(&c->is_wide, true);
		call_rested(c);
	} else if (c->guard_turns) {
		c->guard_turns--;
	}
}

/* With the lock.  True: it listens again; false: all is over. */
static bool rest(struct mnt *m)
{
	struct mnt_crew *c = &m->crew;

	c->resting++;
	while (!c->called && !atomic_load(&m->is_ending)) {
		if (c->guard_turns && !c->has_guard)
			guard(m);
		else
			pthread_cond_wait(&c->wanted, &c->lock);
	}
	c->resting--;
	if (!c->called)
		return false;
	c->called--;
	return true;
}

/* ---- a call -------------------------------------------------------------- */

/* With the lock. */
static void note_met(struct mnt_crew *c)
{
	if (has_met)
		c->met = CFS_MIN(c->met + MET_STEP, MET_MAX);
	else if (c->met)
		c->met--;
	if (c->met >= MET_WIDE)
		atomic_store(&c->is_wide, true);
	else if (!c->met)
		atomic_store(&c->is_wide, false);
}

void mnt_crew_call_begins(struct mnt *m, bool is_waited_for)
{
	struct mnt_crew *c = &m->crew;

	is_answering = is_waited_for;
	has_met = is_waited_for && atomic_fetch_add(&c->answering, 1) > 0;
	pthread_mutex_lock(&c->lock);
	c->listening--;
	c->begun++;
	if (c->listening) {
		/* Somebody does. */
	} else if (c->resting <= c->called) {
		add_worker(m);
	} else if (atomic_load(&c->is_wide)) {
		call_rested(c);
	} else if (!c->has_guard) {
		c->guard_turns = GUARD_TURNS;
		pthread_cond_signal(&c->wanted);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Before whoever waits goes on: what comes behind that did not meet this call.
 * While nobody listens what has come is still to be seen. */
void mnt_crew_answers(struct mnt *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };

	if (!is_answering)
		return;
	is_answering = false;
	if (!has_met && !atomic_load(&m->crew.is_wide))
		has_met = poll(&p, 1, 0) > 0;
	atomic_fetch_sub(&m->crew.answering, 1);
}

bool mnt_crew_call_ends(struct mnt *m, bool was_waited_for)
{
	struct mnt_crew *c = &m->crew;
	bool stays = true;

	mnt_crew_answers(m); /* if somebody else does */
	pthread_mutex_lock(&c->lock);
	if (was_waited_for)
		note_met(c);
	if (c->listening < (atomic_load(&c->is_wide) ? LISTEN_MAX : 1))
		c->listening++;
	else if (c->resting < REST_MAX)
		stays = rest(m);
	else
		stays = false;
	pthread_mutex_unlock(&c->lock);
	return stays;
}

/* ---- the end ------------------------------------------------------------- */

void mnt_crew_end(struct mnt *m)
{
	struct mnt_crew *c = &m->crew;

	pthread_mutex_lock(&c->lock);
	atomic_store(&m->is_ending, true);
	pthread_cond_broadcast(&c->changed);
	pthread_cond_broadcast(&c->wanted);
	pthread_mutex_unlock(&c->lock);
}

void mnt_crew_join(struct mnt *m)
{
	struct mnt_crew *c = &m->crew;

	mnt_crew_end(m);
	pthread_mutex_lock(&c->lock);
	while (c->thread_count) {
		for (unsigned int i = 0; i < THREADS_MAX; i++)
			if (c->is_running[i])
				pthread_kill(c->threads[i], SIGUSR2);
		(void)cfs_cond_wait_ns(&c->changed, &c->lock,
				       10 * CFS_NS_PER_MS);
	}
	pthread_mutex_unlock(&c->lock);
	for (unsigned int i = 0; i < THREADS_MAX; i++) {
		if (c->is_running[i])
			pthread_join(c->threads[i], NULL);
		c->is_running[i] = false;
	}
}
