/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a pool for a tool: the devices, the lock and the record of the
 * holder, then the pool.
 *
 * Order at a writable open: locks; record "open", epoch one higher, devices
 * that are missing from a mirror listed as left out; flush; only then is
 * anything else written, so that a device which comes back is known to have
 * missed something.  At close: everything committed, then record "clean".
 *
 * Where another process holds the pool and its record says where it answers,
 * all is asked of it (remote.h).  Its lock is tried first: the record of one
 * that has died says nothing.
 *
 * A dry run beside such a process works on a copy in memory like any other, on
 * what the devices say: the holder makes all durable and then holds its commits
 * back until the connection ends, or for half a minute, so that what is read
 * belongs together (pool/commit_hold.h).  So a dry run does all its work, and
 * fails where the real one would, and the holder is never asked to undo
 * anything.
 */
#include "session/session_priv.h"
#include "session/silence.h"

#include "base/clock.h"
#include "device/overlay.h"
#include "pool/devset_exclude.h"
#include "lease/conn_lease.h"
#include "lease/period.h"
#include "session/devices.h"
#include "session/direct.h"
#include "session/refer.h"
#include "session/remote.h"
#include "session/secondary.h"
#include "session/serve_delegate.h"
#include "session/serve_direct.h"
#include "session/session_devices.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A device that the record lists as left out, and that is back: not read. */
static void exclude_stale(struct cfs_session *s)
{
	for (uint32_t i = 0; i < s->seat.absent_count; i++) {
		uint32_t index = s->seat.absent[i].device_index;
		char line[CFS_ERR_BYTES];

		if (index >= cfs_devset_count(s->set) ||
		    !cfs_devset_dev(s->set, index))
			continue;
		snprintf(line, sizeof(line),
			 "%s: left out since it missed "
			 "writes: replace it",
			 cfs_devset_path(s->set, index));
		if (s->opt.warn)
			s->opt.warn(s->opt.arg, line);
		cfs_devset_exclude(s->set, index);
	}
}

/* Devices that are missing now are listed before the first write. */
static int note_absent(struct cfs_session *s, struct cfs_err *err)
{
	bool is_changed = false;

	for (uint32_t i = 0; i < cfs_devset_count(s->set); i++) {
		bool is_listed = false;

		if (cfs_devset_dev(s->set, i))
			continue;
		for (uint32_t k = 0; k < s->seat.absent_count; k++)
			is_listed |= s->seat.absent[k].device_index == i;
		if (is_listed)
			continue;
		if (s->seat.absent_count == CFS_SEAT_ABSENT_MAX)
			return cfs_err_set(err, -ENODEV,
					   "too many devices are missing");
		s->seat.absent[s->seat.absent_count++] = (struct cfs_absent){
			.device_index = i,
			.epoch = s->seat.epoch,
		};
		is_changed = true;
	}
	return is_changed ? cfs_session_store_seat(s, err) : 0;
}

static struct cfs_devset_options set_options(const struct cfs_session *s)
{
	return (struct cfs_devset_options){
		.is_writable = s->opt.is_writable && !s->opt.is_dry_run,
		.is_overlay = !s->opt.is_writable || s->opt.is_dry_run,
		.search = s->opt.search,
		.search_count = s->opt.search_count,
		.warn = s->opt.warn,
		.arg = s->opt.arg,
		.stop = s->opt.stop,
		.without = s->opt.without,
		.allows_short = s->opt.allows_short,
	};
}

static int open_set(struct cfs_session *s, const char *pool,
		    struct cfs_err *err)
{
	const struct cfs_devset_options opt = set_options(s);

	return cfs_devset_open(pool, &opt, &s->set, err);
}

static int take_hold(struct cfs_session *s, unsigned int wait_seconds,
		     bool *ret_was_clean, struct cfs_err *err)
{
	const struct cfs_holder_options opt = {
		.wait_seconds = wait_seconds,
		.stop = s->opt.stop,
		.arg = s->opt.arg,
		.gone_host = s->opt.gone_host,
		/* The loop that calls this looks on. */
		.watch = wait_seconds ? NULL : &s->watch,
	};
	struct cfs_seat before;
	int r = cfs_seat_read(s->set, &before, err);

	if (r < 0)
		return r;
	*ret_was_clean = before.state != CFS_SEAT_OPEN;
	memcpy(s->former_address, before.address, sizeof(s->former_address));
	return cfs_holder_acquire(s->set, &opt, &s->holder, &s->seat, err);
}

uint64_t cfs_session_silent_ns(const struct cfs_session *s)
{
	const uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());

	return s->seat.silent_ns ? CFS_MIN(s->seat.silent_ns, now_ns) : now_ns;
}

/* While somebody may have leases of another period, the shorter one counts. */
int cfs_session_follow_period(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_pool_rec rec;
	uint64_t period_ns;
	int r;

	if (!s->holder || !cfs_holder_is_shared(s->holder) ||
	    cfs_devset_is_overlay(s->set))
		return 0;
	r = cfs_pool_rec_get(s->pool, &rec, err);
	if (r < 0 || !rec.config[CFS_POOL_CONFIG_LEASE_NS])
		return r;
	period_ns = cfs_period_short_ns(rec.config[CFS_POOL_CONFIG_LEASE_NS]);
	if (s->seat_period_ns && period_ns >= s->seat_period_ns)
		return 0;
	r = cfs_holder_set_period(
		s->holder, period_ns,
		(uint32_t)rec.config[CFS_POOL_CONFIG_DRIFT_PPM], err);
	if (r == 0)
		s->seat_period_ns = period_ns;
	return r;
}

/* The pool itself, once it is ours. */
static int open_held(struct cfs_session *s, bool was_clean, struct cfs_err *err)
{
	const struct cfs_pool_options opt = {
		.was_clean = was_clean,
		.holder = s->holder,
		.warn = s->opt.warn,
		.arg = s->opt.arg,
	};
	int r;

	exclude_stale(s);
	r = note_absent(s, err);
	if (r == 0 && !was_clean && !cfs_devset_is_overlay(s->set) &&
	    !cfs_holder_is_shared(s->holder))
		r = cfs_devset_level_labels(s->set, err);
	if (r == 0)
		r = cfs_pool_open(s->set, s->seat.epoch, s->seat.roots, &opt,
				  &s->pool, err);
	if (r == 0)
		r = cfs_session_level_roots(s, err);
	if (r == 0)
		r = cfs_session_follow_period(s, err);
	if (r == 0 && (!s->opt.must_hold || !s->opt.is_writable))
		r = cfs_session_settle_delegations(s, err);
	/* Who is going to answer others lets them come back (serve.h). */
	if (r == 0 && !s->opt.must_hold)
		r = cfs_session_settle_clients(s, err);
	if (r == 0)
		cfs_session_warn_takeovers(s);
	return r;
}

/* ---- beside another process ---------------------------------------------- */

#define POLL_NS        (50 * CFS_NS_PER_MS)
#define ANSWER_MS_MIN  1000u
/* Nobody is sent away for the margin of the periods. */
#define GRACE_SLACK_NS CFS_NS_PER_S

/* A set that only looks; the session's own, if it could be opened. */
static int look(struct cfs_session *s, const char *pool,
		struct cfs_devset **ret)
{
	struct cfs_devset_options opt = set_options(s);

	if (s->set) {
		*ret = s->set;
		return 0;
	}
	opt.is_writable = false;
	opt.is_overlay = true;
	opt.warn = NULL;
	return cfs_devset_open(pool, &opt, ret, NULL);
}

/* For a dry run: commits wait, and the record is the holder's. */
static int hold_beside(struct cfs_session *s, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = NULL };
	int r;

	s->beside = s->remote;
	s->remote = NULL;
	r = cfs_remote_ask(s->beside, CFS_RPC_HOLD, &args, NULL, err);
	if (r == 0)
		r = cfs_seat_read(s->set, &s->seat, err);
	if (r == 0)
		s->seat.epoch++;
	return r < 0 ? r : 1;
}

/*
 * Ask the one who holds the pool.  1: it answers; 0: there is nobody to be
 * asked, @why may say more; else what it said.
 */
static int ask_holder(struct cfs_session *s, const char *pool, uint64_t left_ns,
		      struct cfs_err *why, struct cfs_err *err)
{
	const uint64_t left_ms = left_ns / CFS_NS_PER_MS;
	struct cfs_devset *set = NULL;
	struct cfs_seat seat;
	int r = look(s, pool, &set);

	/* It may be another one than the last time. */
	*why = (struct cfs_err)CFS_ERR_INIT;
	if (r < 0)
		return 0;
	r = cfs_seat_read(set, &seat, NULL);
	if (r == 0 && seat.state == CFS_SEAT_OPEN && seat.address[0])
		r = cfs_remote_connect(
			seat.address, cfs_devset_label(set, 0)->pool_uuid,
			&s->opt, (unsigned int)CFS_MAX(left_ms, ANSWER_MS_MIN),
			&s->remote, why);
	else
		r = -EBUSY;
	if (r == 0)
		cfs_session_watch_manager(s, set, &seat);
	if (set != s->set)
		cfs_devset_close(set);
	if (r == -EBUSY)
		return 0;
	if (r < 0 && err)
		*err = *why;
	if (r < 0)
		return r;
	if (!s->opt.is_dry_run)
		return 1;
	/* The set of a dry run is open, since it locks nothing; else whatever
	 * kept it from that is what there is to say. */
	if (s->set)
		return hold_beside(s, err);
	cfs_remote_close(s->remote);
	s->remote = NULL;
	return 0;
}

/* Nobody answers, and the wait is over: why not, if somebody should. */
static int still_busy(int r, const struct cfs_err *why, struct cfs_err *err)
{
	char who[CFS_ERR_BYTES];

	if (!err || !why->code)
		return r;
	memcpy(who, err->msg, sizeof(who));
	return cfs_err_set(err, r, "%s: %s", who, why->msg);
}

/* One try: the pool is ours, or -EBUSY, or something is wrong. */
static int try_hold(struct cfs_session *s, const char *pool,
		    bool *ret_was_clean, struct cfs_err *err)
{
	int r = s->set ? 0 : open_set(s, pool, err);

	if (r == 0)
		r = take_hold(s, 0, ret_was_clean, err);
	/* The set of devices changed while we waited: look again. */
	for (int i = 0; r == -EAGAIN && i < 10; i++) {
		cfs_devset_close(s->set);
		s->set = NULL;
		r = open_set(s, pool, err);
		if (r == 0)
			r = take_hold(s, 0, ret_was_clean, err);
	}
	return r;
}

/* The pool is ours and open; or -EBUSY and *ret_is_held: others may answer. */
static int try_open(struct cfs_session *s, const char *pool, bool *ret_is_held,
		    struct cfs_err *err)
{
	bool was_clean = false;
	int r = try_hold(s, pool, &was_clean, err);

	*ret_is_held = r == -EBUSY;
	if (r == 0)
		r = open_held(s, was_clean, err);
	if (r == -EBUSY && s->grace_end_ns)
		cfs_session_step_back(s);
	return r;
}

/* Those who may have leases of a dead manager are waited for. */
static bool waits_for_grace(struct cfs_session *s, const char *pool)
{
	struct cfs_devset *set = NULL;
	bool does;

	(void)look(s, pool, &set);
	does = cfs_session_grace_is_on(s, set);
	if (set != s->set)
		cfs_devset_close(set);
	return does;
}

static int open_steps(struct cfs_session *s, const char *pool,
		      struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t begin_ns = cfs_clock_elapsed_ns(clock);
	const uint64_t end_ns = cfs_deadline_add(
		begin_ns, s->opt.wait_seconds * CFS_NS_PER_S);
	struct cfs_err why = CFS_ERR_INIT;
	bool is_held = false;
	uint64_t now_ns;
	int r, asked;

	s->steps_back = true;
	for (;;) {
		r = s->grace_end_ns && waits_for_grace(s, pool)
			    ? cfs_session_still_in_grace(s->grace_end_ns, err)
			    : try_open(s, pool, &is_held, err);
		if (r != -EBUSY || (!is_held && !s->grace_end_ns))
			return r;
		now_ns = cfs_clock_elapsed_ns(clock);
		asked = s->opt.must_hold || s->grace_end_ns
				? 0
				: ask_holder(s, pool,
					     end_ns > now_ns ? end_ns - now_ns
							     : 0,
					     &why, err);
		if (asked == 1 && s->beside)
			return open_held(s, false, err);
		if (asked)
			return asked;
		now_ns = cfs_clock_elapsed_ns(clock);
		if (s->grace_end_ns)
			cfs_session_tell_grace(s, pool, begin_ns);
		/* Whether a holder on another host lives shows in time. */
		if (s->grace_end_ns
			    ? now_ns >= cfs_deadline_add(end_ns, GRACE_SLACK_NS)
			    : now_ns >= end_ns &&
				      (!s->watch.is_on || s->watch.is_moving ||
				       !s->opt.wait_seconds))
			return still_busy(r, &why, err);
		if (s->opt.stop && s->opt.stop(s->opt.arg))
			return cfs_err_set(err, -EINTR,
					   "%s: stopped while "
					   "waiting for it",
					   pool);
		cfs_clock_sleep_until(
			clock, s->grace_end_ns
				       ? now_ns + POLL_NS
				       : CFS_MIN(end_ns, now_ns + POLL_NS));
	}
}

void cfs_session_object_free(struct cfs_session *s)
{
	if (!s)
		return;
	cfs_refer_free(s->refers);
	free(s->at_address);
	cfs_remote_close(s->remote);
	cfs_remote_close(s->beside);
	cfs_devset_close(s->set);
	cfs_session_forget_making(s);
	free(s->path);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->users_changed);
	pthread_mutex_destroy(&s->users_lock);
	pthread_mutex_destroy(&s->seat_lock);
	pthread_mutex_destroy(&s->refer_lock);
	pthread_mutex_destroy(&s->move_lock);
	free(s);
}

struct cfs_session *cfs_session_object_new(
	const struct cfs_session_options *opt)
{
	struct cfs_session *s = calloc(1, sizeof(*s));

	if (s) {
		s->opt = *opt;
		pthread_mutex_init(&s->lock, NULL);
		pthread_mutex_init(&s->users_lock, NULL);
		pthread_cond_init(&s->users_changed, NULL);
		pthread_mutex_init(&s->seat_lock, NULL);
		pthread_mutex_init(&s->refer_lock, NULL);
		pthread_mutex_init(&s->move_lock, NULL);
	}
	return s;
}

/* Not clean: what stands on the devices is for recovery. */
static void open_failed(struct cfs_session *s)
{
	if (s->pool)
		cfs_pool_drop(s->pool);
	if (s->holder)
		(void)cfs_holder_release(s->holder, false, NULL);
	cfs_session_object_free(s);
}

/* Path in front, unless the message begins with it. */
static int name_pool(const char *pool, int r, struct cfs_err *err)
{
	if (err && strncmp(err->msg, pool, strlen(pool)) != 0)
		return cfs_err_wrap(err, r, "%s", pool);
	return r;
}

int cfs_session_open(const char *pool, const struct cfs_session_options *opt,
		     struct cfs_session **ret, struct cfs_err *err)
{
	const struct cfs_err before = err ? *err : (struct cfs_err)CFS_ERR_INIT;
	struct cfs_session *s = cfs_session_object_new(opt);
	int r;

	if (!s)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = open_steps(s, pool, err);
	if (r < 0) {
		open_failed(s);
		return name_pool(pool, r, err);
	}
	/* That it was busy before somebody answered is nobody's error. */
	if (err)
		*err = before;
	if (s->remote) {
		cfs_devset_close(s->set);
		s->set = NULL;
		/* Without it all goes through the holder. */
		s->path = strdup(pool);
	}
	*ret = s;
	return 0;
}

int cfs_session_open_devices(struct cfs_dev *const *devices, size_t count,
			     const struct cfs_session_options *opt,
			     struct cfs_session **ret, struct cfs_err *err)
{
	struct cfs_session *s = cfs_session_object_new(opt);
	struct cfs_devset_options set_opt;
	bool was_clean = false;
	int r;

	if (!s) {
		for (size_t i = 0; i < count; i++)
			cfs_dev_close(devices[i]);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	set_opt = set_options(s);
	r = cfs_devset_from_devices(devices, count, &set_opt, &s->set, err);
	if (r == 0)
		r = take_hold(s, opt->wait_seconds, &was_clean, err);
	if (r == 0)
		r = open_held(s, was_clean, err);
	if (r < 0) {
		open_failed(s);
		return r;
	}
	*ret = s;
	return 0;
}

void cfs_session_drop(struct cfs_session *s)
{
	if (!s)
		return;
	(void)cfs_direct_close(s->direct, NULL);
	cfs_pool_drop(s->pool);
	cfs_secondary_close(s->secondary);
	(void)cfs_holder_release(s->holder, false, NULL);
	cfs_session_object_free(s);
}

int cfs_session_close(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r, r2;

	if (!s)
		return 0;
	if (s->remote) {
		r2 = cfs_refer_close(s->refers, &why);
		s->refers = NULL;
		r = cfs_direct_close(s->direct, err);
		if (r == 0 && r2 < 0) {
			r = r2;
			if (err)
				*err = why;
		}
		cfs_leaser_free(s->lockers, true);
		cfs_session_object_free(s);
		return r;
	}
	r2 = cfs_refer_close(s->refers, &why);
	s->refers = NULL;
	if (s->opt.is_writable) {
		r = cfs_pool_close(s->pool, err);
	} else {
		cfs_pool_drop(s->pool);
		r = 0;
	}
	/* Nothing is written behind this. */
	cfs_secondary_close(s->secondary);
	if (r == 0 && r2 < 0) {
		r = r2;
		if (err)
			*err = why;
	}
	r2 = cfs_holder_release(s->holder, r == 0, &why);
	if (r == 0 && r2 < 0) {
		r = r2;
		if (err)
			*err = why;
	}
	cfs_session_object_free(s);
	return r;
}

void cfs_session_rest(struct cfs_session *s)
{
	if (s->pool)
		cfs_pool_rest(s->pool);
	cfs_direct_rest(s);
	(void)malloc_trim(0);
}

void cfs_session_closep(struct cfs_session **s)
{
	cfs_session_close(*s, NULL);
}

int cfs_session_store_seat_locked(struct cfs_session *s, struct cfs_err *err)
{
	/* A dry run beside the holder has no record of its own. */
	if (s->beside)
		return 0;
	if (s->secondary)
		return cfs_secondary_store(s->secondary, &s->seat, err);
	return cfs_holder_update(s->holder, &s->seat, err);
}

int cfs_session_store_seat(struct cfs_session *s, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&s->seat_lock);
	r = cfs_session_store_seat_locked(s, err);
	pthread_mutex_unlock(&s->seat_lock);
	return r;
}

int cfs_session_may_write(const struct cfs_session *s, struct cfs_err *err)
{
	if (!s->opt.is_writable)
		return cfs_err_set(err, -EROFS, "opened to read only");
	return 0;
}

int cfs_session_open_new_device(struct cfs_session *s, const char *path,
				struct cfs_dev **ret, struct cfs_err *err)
{
	struct cfs_dev *dev = NULL;
	int r;

	if (!s->opt.is_dry_run)
		r = cfs_dev_open(path, CFS_DEV_RDWR, &dev, err);
	else
		r = cfs_dev_open(path, CFS_DEV_RDONLY, &dev, err);
	if (r == 0)
		r = cfs_dev_lock(dev, !s->opt.is_dry_run, err);
	if (r == 0 && s->opt.is_dry_run)
		r = cfs_dev_overlay_new(dev, ret, err);
	else if (r == 0)
		*ret = dev;
	if (r < 0)
		cfs_dev_close(dev);
	return r;
}
