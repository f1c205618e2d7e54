/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/serve_onward.h"
#include "session/serve_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/vec.h"
#include "session/io_local.h"
#include "session/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_NS    (500 * CFS_NS_PER_MS) /* for what is under way */
#define DRAIN_NS   (30 * CFS_NS_PER_S)   /* and for names of files */
#define AGAIN_NS   (20 * CFS_NS_PER_MS)
#define OPEN_NS    (2 * CFS_NS_PER_S)
#define CONNECT_MS 2000u

struct item {
	struct serve_peer *peer;
	struct serve_handle *h;
};

struct cfs_onward {
	struct cfs_serve_rpc *rpc;
	uint64_t container;
	CFS_VEC(struct item) items;
	bool has_left; /* closed here */
};

/* ---- some of all --------------------------------------------------------- */

/* With the lock of its peer. */
typedef bool (*pick_fn)(struct cfs_onward *o, const struct serve_handle *h);

static int pick_of(struct cfs_onward *o, struct serve_peer *peer, pick_fn pick)
{
	struct serve_handle *h, *next;
	int r = 0;

	pthread_mutex_lock(&peer->lock);
	HASH_ITER(hh, peer->handles, h, next) {
		if (!pick(o, h))
			continue;
		r = cfs_vec_push(&o->items, (struct item){ peer, h });
		if (r < 0)
			break;
		serve_handle_hold(h);
		peer->holds++;
	}
	pthread_mutex_unlock(&peer->lock);
	return r;
}

static void let_go(struct cfs_onward *o)
{
	for (size_t i = 0; i < o->items.count; i++)
		serve_handle_let_go(o->items.items[i].peer,
				    o->items.items[i].h);
	pthread_mutex_lock(&o->rpc->lock);
	for (size_t i = 0; i < o->items.count; i++)
		o->items.items[i].peer->holds--;
	pthread_cond_broadcast(&o->rpc->let_go);
	pthread_mutex_unlock(&o->rpc->lock);
	cfs_vec_done(&o->items);
}

/* They stay until they are let go.  -ENOMEM: none. */
static int pick(struct cfs_onward *o, pick_fn fn)
{
	struct serve_peer *peer, *next;
	int r = 0;

	pthread_mutex_lock(&o->rpc->lock);
	HASH_ITER(hh, o->rpc->peers, peer, next) {
		r = pick_of(o, peer, fn);
		if (r < 0)
			break;
	}
	pthread_mutex_unlock(&o->rpc->lock);
	if (r < 0)
		let_go(o);
	return r < 0 ? -ENOMEM : 0;
}

static void set_step(struct item *i, enum serve_step step)
{
	pthread_mutex_lock(&i->peer->lock);
	i->h->step = step;
	pthread_cond_broadcast(&i->peer->changed);
	pthread_mutex_unlock(&i->peer->lock);
}

/* No request is at work on any of them. */
static bool are_still(struct cfs_onward *o)
{
	bool are = true;

	for (size_t i = 0; i < o->items.count && are; i++) {
		struct item *it = &o->items.items[i];

		pthread_mutex_lock(&it->peer->lock);
		are = it->h->users == 0;
		pthread_mutex_unlock(&it->peer->lock);
	}
	return are;
}

static bool wait_until_still(struct cfs_onward *o, uint64_t wait_ns)
{
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t end_ns = cfs_clock_elapsed_ns(clock) + wait_ns;

	while (!are_still(o)) {
		if (cfs_clock_elapsed_ns(clock) >= end_ns)
			return false;
		cfs_clock_sleep_until(clock, cfs_clock_elapsed_ns(clock) +
						     CFS_NS_PER_MS);
	}
	return true;
}

static void stop_all(struct cfs_onward *o)
{
	for (size_t i = 0; i < o->items.count; i++)
		set_step(&o->items.items[i], SERVE_STOPPED);
}

/* ---- going --------------------------------------------------------------- */

static bool is_here(struct cfs_onward *o, const struct serve_handle *h)
{
	struct cfs_use_of of;

	return h->step == SERVE_HERE && cfs_local_io_is(h->v, &of) &&
	       of.container == o->container;
}

int cfs_onward_begin(struct cfs_serve_rpc *rpc, uint64_t container,
		     struct cfs_onward **ret, struct cfs_err *err)
{
	struct cfs_onward *o = calloc(1, sizeof(*o));

	if (!o)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	o->rpc = rpc;
	o->container = container;
	if (pick(o, is_here) < 0) {
		free(o);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	stop_all(o);
	if (!wait_until_still(o, STOP_NS)) {
		cfs_onward_end(o, 0);
		return cfs_err_set(err, -EBUSY,
				   "processes that use it are in the middle of "
				   "something");
	}
	if (o->items.count == 0) {
		free(o);
		o = NULL;
	}
	*ret = o;
	return 0;
}

static int busy(const struct item *it, const char *why, struct cfs_err *err)
{
	return cfs_err_set(err, -EBUSY, "in use by %s%s", it->peer->actor.who,
			   why);
}

/* By its numbers; names may have been changed. */
static int name_it(struct cfs_session *s, struct serve_onward *on,
		   struct cfs_err *err)
{
	struct cfs_snapshot_rec snap;
	struct cfs_volume_rec rec;
	struct cfs_member *m;
	int r = cfs_pool_member_by_id(s->pool, on->of.container, &m, err);

	_Static_assert(sizeof(on->volume) >= 260, "room for a name");
	if (r == 0)
		r = cfs_volume_get(m, on->of.volume, &rec, err);
	if (r < 0)
		return r;
	cfs_session_name(m, &rec, on->volume);
	on->snap[0] = '\0';
	if (!on->of.stamp)
		return 0;
	r = cfs_snapshot_at(m, on->of.volume, on->of.stamp, &snap, err);
	if (r < 0)
		return cfs_err_set(err, -ENOENT, "no such snapshot");
	(void)snprintf(on->snap, sizeof(on->snap), "%s", snap.name);
	return 0;
}

static int have_names(const struct item *it, struct cfs_err *err)
{
	struct cfs_fs *fs = cfs_io_fs(it->h->v);
	struct serve_inode *i, *next;
	struct cfs_inode inode;
	int r = 0;

	/* Nobody asks for anything, so none comes and none goes. */
	HASH_ITER(hh, it->h->inodes, i, next) {
		r = cfs_fs_getattr(fs, i->ino, &inode, err);
		if (r == 0 && inode.nlink == 0)
			r = busy(it, ", which has a file open that has no name",
				 err);
		if (r < 0)
			break;
	}
	return r;
}

static bool makes_one_of(struct serve_peer *peer, const char *volume)
{
	const size_t length = strcspn(volume, "/");
	bool does = false;

	pthread_mutex_lock(&peer->lock);
	for (const struct serve_unfinished *u = peer->unfinished; u;
	     u = u->next)
		does |= strcspn(u->name, "/") == length &&
			memcmp(u->name, volume, length) == 0;
	pthread_mutex_unlock(&peer->lock);
	return does;
}

static int may_go(struct cfs_onward *o, struct item *it, struct cfs_err *err)
{
	struct serve_onward *on = &it->h->onward;
	int r;

	(void)cfs_local_io_is(it->h->v, &on->of);
	on->container = o->container;
	if (it->peer->actor.lender.lease_id)
		return busy(it, ", under a lease", err);
	r = name_it(o->rpc->s, on, err);
	if (r == 0 && makes_one_of(it->peer, on->volume))
		r = busy(it, ", which has not finished it", err);
	return r < 0 ? r : have_names(it, err);
}

int cfs_onward_check_others(const struct cfs_onward *o, uint64_t count,
			    struct cfs_err *err)
{
	return o && count ? busy(&o->items.items[0],
				 ", beside others who work in it", err)
			  : 0;
}

int cfs_onward_check(struct cfs_onward *o, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; o && i < o->items.count && r == 0; i++)
		r = may_go(o, &o->items.items[i], err);
	for (size_t i = 0; o && i < o->items.count && r == 0; i++)
		cfs_local_io_set_moving(o->items.items[i].h->v, true);
	return r;
}

/* As often as is counted, of the first @count of all times. */
static void close_inodes(const struct serve_handle *h, struct cfs_io_volume *v,
			 uint64_t count)
{
	struct serve_inode *i, *next;

	HASH_ITER(hh, h->inodes, i, next)
		for (uint64_t n = 0; n < i->count && count > 0; n++, count--)
			(void)cfs_fs_close_ino(cfs_io_fs(v), i->ino, NULL);
}

static int open_inodes(const struct serve_handle *h, struct cfs_io_volume *v,
		       struct cfs_err *err)
{
	struct serve_inode *i, *next;
	uint64_t count = 0;
	int r = 0;

	HASH_ITER(hh, h->inodes, i, next)
		for (uint64_t n = 0; n < i->count && r == 0; n++) {
			r = cfs_fs_open_ino(cfs_io_fs(v), i->ino, err);
			count += r == 0;
		}
	if (r < 0)
		close_inodes(h, v, count);
	return r;
}

void cfs_onward_leave(struct cfs_onward *o)
{
	for (size_t i = 0; o && i < o->items.count; i++) {
		struct serve_handle *h = o->items.items[i].h;

		close_inodes(h, h->v, UINT64_MAX);
		cfs_io_close(h->v);
		h->v = NULL;
	}
	if (o)
		o->has_left = true;
}

/* ---- opening again ------------------------------------------------------- */

/* It is nobody's user any more, and is asked for in vain. */
static void lose(struct cfs_session *s, struct item *it)
{
	struct serve_onward *on = &it->h->onward;

	set_step(it, SERVE_LOST);
	cfs_serve_volume_leave(s, on->kept);
	on->kept = NULL;
}

/* With the structure of requests.  -EBUSY: nothing has changed. */
static int open_here(struct cfs_session *s, struct item *it)
{
	const struct cfs_use_actor *was = cfs_serve_actor();
	struct serve_onward *on = &it->h->onward;
	struct cfs_io_volume *v;
	int r;

	cfs_serve_act_for(&it->peer->actor);
	/* They may have been changed where it was. */
	r = name_it(s, on, NULL);
	if (r == 0)
		r = cfs_local_io_open(s, on->volume,
				      on->snap[0] ? on->snap : NULL,
				      it->h->is_writable, &v, NULL);
	if (r == 0) {
		r = open_inodes(it->h, v, NULL);
		if (r < 0)
			cfs_io_close(v);
	}
	cfs_serve_act_for(was);
	if (r == -EBUSY)
		return r;
	if (r < 0) {
		lose(s, it);
		return 0;
	}
	it->h->v = v;
	on->epoch = 0;
	cfs_serve_volume_leave(s, on->kept);
	on->kept = NULL;
	set_step(it, SERVE_HERE);
	return 0;
}

void cfs_onward_end(struct cfs_onward *o, uint32_t epoch)
{
	for (size_t i = 0; o && i < o->items.count; i++) {
		struct item *it = &o->items.items[i];

		if (epoch) {
			it->h->onward.epoch = epoch;
			set_step(it, SERVE_AWAY);
		} else if (o->has_left) {
			if (open_here(o->rpc->s, it) < 0)
				lose(o->rpc->s, it);
		} else {
			cfs_local_io_set_moving(it->h->v, false);
			set_step(it, SERVE_HERE);
		}
	}
	if (!o)
		return;
	let_go(o);
	free(o);
}

/* ---- there --------------------------------------------------------------- */

static bool is_of(const struct cfs_onward *o, const struct serve_handle *h,
		  uint32_t epoch)
{
	return h->onward.container == o->container && h->onward.epoch == epoch;
}

/* Those that went under an epoch; whom nobody has picked. */
struct gone {
	struct cfs_onward o; /* first */
	uint32_t epoch;
};

static bool is_away(struct cfs_onward *o, const struct serve_handle *h)
{
	return h->step == SERVE_AWAY && is_of(o, h, ((struct gone *)o)->epoch);
}

static bool is_there(struct cfs_onward *o, const struct serve_handle *h)
{
	return h->step == SERVE_THERE && is_of(o, h, ((struct gone *)o)->epoch);
}

static struct gone gone_of(struct cfs_serve_rpc *rpc, uint64_t container,
			   uint32_t epoch)
{
	return (struct gone){
		.o = { .rpc = rpc, .container = container },
		.epoch = epoch,
	};
}

/* Asked while a secondary is waited for. */
static bool is_in_vain(void *arg)
{
	const struct serve_onward *on = arg;

	return __atomic_load_n(&on->is_over, __ATOMIC_RELAXED) ||
	       cfs_serve_is_cancelled();
}

static int open_there(struct cfs_session *s, struct item *it,
		      const char *address, struct cfs_err *err)
{
	struct serve_onward *on = &it->h->onward;
	struct cfs_session_options opt = s->opt;
	struct cfs_io_volume *v = NULL;
	struct cfs_remote *remote;
	int r;

	opt.lease = NULL;
	opt.stop = is_in_vain;
	opt.progress = NULL;
	opt.warn = NULL;
	opt.arg = on;
	__atomic_store_n(&on->is_over, false, __ATOMIC_RELAXED);
	r = cfs_remote_connect(address, cfs_devset_label(s->set, 0)->pool_uuid,
			       &opt, CONNECT_MS, &remote, err);
	if (r < 0)
		return r;
	r = cfs_remote_io_open(
		remote, on->volume, on->snap[0] ? on->snap : NULL,
		it->h->is_writable, OPEN_NS, it->h->patience_ns, &v, err);
	if (r == 0)
		r = open_inodes(it->h, v, err);
	if (r < 0) {
		if (v)
			cfs_io_close(v);
		cfs_remote_close(remote);
		return r;
	}
	it->h->v = v;
	on->remote = remote;
	set_step(it, SERVE_THERE);
	return 0;
}

int cfs_onward_join(struct cfs_serve_rpc *rpc, uint64_t container,
		    uint32_t epoch, const char *address, struct cfs_err *err)
{
	struct gone g = gone_of(rpc, container, epoch);
	int r = pick(&g.o, is_away);

	if (r < 0)
		return cfs_err_set(err, r, "out of memory");
	for (size_t i = 0; i < g.o.items.count && r == 0; i++)
		r = open_there(rpc->s, &g.o.items.items[i], address, err);
	let_go(&g.o);
	return r;
}

void cfs_onward_lose(struct cfs_serve_rpc *rpc, uint64_t container,
		     uint32_t epoch)
{
	struct gone g = gone_of(rpc, container, epoch);

	if (pick(&g.o, is_away) < 0)
		return;
	for (size_t i = 0; i < g.o.items.count; i++)
		lose(rpc->s, &g.o.items.items[i]);
	let_go(&g.o);
}

/* Nothing is under way. */
static void close_there(struct item *it)
{
	cfs_io_close(it->h->v);
	it->h->v = NULL;
	cfs_remote_close(it->h->onward.remote);
	it->h->onward.remote = NULL;
}

/*
 * Whether it is closed there.  What was answered is synced; a file without a
 * name would be gone with that, so it is left to be given one.
 */
static bool drain_one(struct cfs_onward *o, struct item *it)
{
	struct cfs_onward one = { .rpc = o->rpc, .container = o->container };
	bool may;

	if (it->h->step == SERVE_AWAY)
		return true;
	one.items.items = it;
	one.items.count = 1;
	set_step(it, SERVE_STOPPED);
	may = wait_until_still(&one, STOP_NS) && have_names(it, NULL) == 0 &&
	      cfs_io_sync(it->h->v, NULL) == 0;
	if (may)
		close_there(it);
	set_step(it, may ? SERVE_AWAY : SERVE_THERE);
	return may;
}

void cfs_onward_drain(struct cfs_serve_rpc *rpc, uint64_t container,
		      uint32_t epoch)
{
	struct gone g = gone_of(rpc, container, epoch);
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t end_ns = cfs_clock_elapsed_ns(clock) + DRAIN_NS;
	size_t left;

	if (pick(&g.o, is_there) < 0)
		return;
	for (;;) {
		left = 0;
		for (size_t i = 0; i < g.o.items.count; i++)
			left += !drain_one(&g.o, &g.o.items.items[i]);
		if (left == 0 || cfs_clock_elapsed_ns(clock) >= end_ns)
			break;
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + AGAIN_NS);
	}
	let_go(&g.o);
}

/* ---- home ---------------------------------------------------------------- */

static bool is_either(struct cfs_onward *o, const struct serve_handle *h)
{
	return is_away(o, h) || is_there(o, h);
}

void cfs_onward_keep(struct cfs_serve_rpc *rpc, uint64_t container,
		     uint32_t epoch)
{
	struct gone g = gone_of(rpc, container, epoch);

	if (pick(&g.o, is_either) < 0)
		return;
	for (size_t i = 0; i < g.o.items.count; i++) {
		struct item *it = &g.o.items.items[i];
		struct serve_onward *on = &it->h->onward;

		__atomic_store_n(&on->is_over, true, __ATOMIC_RELAXED);
		if (it->h->v ||
		    (!on->kept &&
		     cfs_serve_volume_keep(rpc->s, &on->of, &it->peer->actor,
					   &on->kept) < 0))
			lose(rpc->s, it);
	}
	let_go(&g.o);
}

int cfs_onward_return(struct cfs_serve_rpc *rpc, uint64_t container,
		      uint32_t epoch)
{
	struct gone g = gone_of(rpc, container, epoch);
	int r = 0;

	if (pick(&g.o, is_away) < 0)
		return -EBUSY;
	for (size_t i = 0; i < g.o.items.count; i++) {
		pthread_rwlock_rdlock(&rpc->structure);
		if (open_here(rpc->s, &g.o.items.items[i]) < 0)
			r = -EBUSY;
		pthread_rwlock_unlock(&rpc->structure);
	}
	let_go(&g.o);
	return r;
}
