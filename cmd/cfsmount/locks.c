/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Locks of programs: fcntl(2) on ranges of bytes, flock(2) on whole files.
 *
 * Each lock is a lease, with its owner as the holder's key; so the manager of
 * the pool judges what conflicts, between owners here and those of other
 * mounts alike, and sees who waits for whom.  What is ours is which owner has
 * which ranges, and to cut and join them: a lease on the new range is got
 * first, then leases on what is left of the old ones, then the old ones go; so
 * nobody else gets in between.
 *
 * Who waits has a thread of its own, or waiting locks would keep all others
 * from being answered, and among them the unlock that is waited for.
 */
#include "cfsmount/cfsmount.h"

#include "base/vec.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#define WAITING_MAX 4096u

struct range_lock {
	struct range_lock *next;
	struct mnt_volume *v;
	uint64_t ino, owner;
	enum cfs_io_lock_kind kind;
	uint64_t start, end; /* both in it */
	bool is_exclusive;
	pid_t pid;
	const struct mnt_file *file; /* by which it was set */
	struct cfs_held *held;
};

struct mnt_locks {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct range_lock *all;
	atomic_bool has_any; /* all is not empty: looked at without the lock */
	unsigned int waiting;
};

int mnt_locks_new(struct mnt *m, struct mnt_locks **ret, struct cfs_err *err)
{
	struct mnt_locks *l = calloc(1, sizeof(*l));

	(void)m;
	if (!l)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	*ret = l;
	return 0;
}

static void range_free(struct range_lock *r)
{
	cfs_io_unlock(r->held);
	free(r);
}

/* The kernel has gone: who waits is told by mnt_loop_end. */
void mnt_locks_free(struct mnt_locks *l)
{
	struct range_lock *r;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	while (l->waiting)
		pthread_cond_wait(&l->changed, &l->lock);
	pthread_mutex_unlock(&l->lock);
	while ((r = l->all)) {
		l->all = r->next;
		range_free(r);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- one lease ----------------------------------------------------------- */

static bool is_interrupted(void *arg)
{
	fuse_req_t req = arg;

	return fuse_req_interrupted(req) ||
	       atomic_load(&mnt_of(req)->is_ending);
}

static int acquire(const struct range_lock *r, bool waits, fuse_req_t req,
		   struct cfs_held **ret)
{
	const struct cfs_io_lock_want want = {
		.ino = r->ino,
		.kind = r->kind,
		.offset_bytes = r->start,
		.length_bytes = r->end == UINT64_MAX ? UINT64_MAX - r->start
						     : r->end - r->start + 1,
		.is_exclusive = r->is_exclusive,
		.waits = waits,
		.key = r->owner,
		.stop = waits ? is_interrupted : NULL,
		.arg = req,
	};
	int code;

	*ret = NULL;
	code = cfs_io_lock(r->v->io, &want, ret, NULL);
	return code == -EBUSY ? -EAGAIN : code;
}

/* ---- cutting ------------------------------------------------------------- */

static bool is_of(const struct range_lock *r, const struct range_lock *like)
{
	return r->v == like->v && r->ino == like->ino &&
	       r->owner == like->owner && r->kind == like->kind;
}

static bool overlaps(const struct range_lock *r, const struct range_lock *with)
{
	return r->start <= with->end && with->start <= r->end;
}

/* What of @r lies outside of @cut: 0 to 2 parts, put in front of *list. */
static int keep_parts(const struct range_lock *r, const struct range_lock *cut,
		      struct range_lock **list)
{
	struct range_lock part[2] = { *r, *r }, *new;
	bool has[2] = { r->start<cut->start, r->end> cut->end };
	int code;

	part[0].end = cut->start - 1;
	part[1].start = cut->end + 1;
	for (int i = 0; i < 2; i++) {
		if (!has[i])
			continue;
		new = malloc(sizeof(*new));
		if (!new)
			return -ENOLCK;
		*new = part[i];
		code = acquire(new, false, NULL, &new->held);
		if (code < 0) {
			free(new);
			return code == -EAGAIN ? -ENOLCK : code;
		}
		new->next = *list;
		*list = new;
	}
	return 0;
}

static void free_list(struct range_lock *list)
{
	struct range_lock *r;

	while ((r = list)) {
		list = r->next;
		range_free(r);
	}
}

/*
 * All that the owner has in the range of @cut goes, and @new (NULL: nothing)
 * takes its place.  With the lock.
 */
static int replace(struct mnt_locks *l, const struct range_lock *cut,
		   struct range_lock *new)
{
	struct range_lock *parts = NULL, *old = NULL, **at, *r;
	int code = 0;

	for (r = l->all; r && code == 0; r = r->next)
		if (is_of(r, cut) && overlaps(r, cut))
			code = keep_parts(r, cut, &parts);
	if (code < 0) {
		free_list(parts);
		return code;
	}
	for (at = &l->all; *at;) {
		r = *at;
		if (!is_of(r, cut) || !overlaps(r, cut)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->next = old;
		old = r;
	}
	*at = parts;
	if (new) {
		new->next = l->all;
		l->all = new;
	}
	atomic_store(&l->has_any, l->all != NULL);
	free_list(old);
	return 0;
}

/* ---- setting ------------------------------------------------------------- */

static int set(struct mnt_locks *l, const struct range_lock *want, bool waits,
	       fuse_req_t req)
{
	struct range_lock *new = malloc(sizeof(*new));
	int code;

	if (!new)
		return -ENOLCK;
	*new = *want;
	code = acquire(new, waits, req, &new->held);
	if (code < 0) {
		free(new);
		return code;
	}
	pthread_mutex_lock(&l->lock);
	code = replace(l, want, new);
	pthread_mutex_unlock(&l->lock);
	if (code < 0)
		range_free(new);
	return code;
}

static int unset(struct mnt_locks *l, const struct range_lock *want)
{
	int code;

	pthread_mutex_lock(&l->lock);
	code = replace(l, want, NULL);
	pthread_mutex_unlock(&l->lock);
	return code;
}

struct waiter {
	fuse_req_t req;
	struct mnt_locks *l;
	struct range_lock want;
};

/* The answer is sent in any case; nothing of ours is used behind it. */
static void *wait_for_lock(void *arg)
{
	struct waiter *w = arg;
	struct mnt_locks *l = w->l;
	struct mnt_volume *v = w->want.v;
	int r = set(l, &w->want, true, w->req);

	if (r == -EINTR || r == -ETIMEDOUT)
		fuse_reply_err(w->req, EINTR);
	else
		mnt_reply_err(w->req, r == -EAGAIN ? -ENOLCK : r);
	mnt_volume_put(v);
	free(w);
	pthread_mutex_lock(&l->lock);
	l->waiting--;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int begin_waiting(struct mnt_locks *l, const struct range_lock *want,
			 fuse_req_t req)
{
	struct waiter *w = malloc(sizeof(*w));
	pthread_attr_t attr;
	pthread_t thread;
	int r = w ? 0 : -ENOLCK;

	pthread_mutex_lock(&l->lock);
	if (r == 0 && l->waiting >= WAITING_MAX)
		r = -ENOLCK;
	if (r == 0)
		l->waiting++;
	pthread_mutex_unlock(&l->lock);
	if (r < 0) {
		free(w);
		return r;
	}
	*w = (struct waiter){ .req = req, .l = l, .want = *want };
	mnt_volume_use(want->v);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	r = pthread_create(&thread, &attr, wait_for_lock, w);
	pthread_attr_destroy(&attr);
	if (r == 0)
		return 0;
	pthread_mutex_lock(&l->lock);
	l->waiting--;
	pthread_mutex_unlock(&l->lock);
	mnt_volume_put(want->v);
	free(w);
	return -ENOLCK;
}

static void lock_or_unlock(fuse_req_t req, const struct range_lock *want,
			   short type, bool sleep)
{
	struct mnt_locks *l = mnt_of(req)->locks;
	int r;

	if (type == F_UNLCK) {
		mnt_reply_err(req, unset(l, want));
		return;
	}
	r = set(l, want, false, req);
	if (r == -EAGAIN && sleep) {
		r = begin_waiting(l, want, req);
		if (r == 0)
			return; /* it answers */
	}
	if (r == -EAGAIN)
		fuse_reply_err(req, EAGAIN);
	else
		mnt_reply_err(req, r);
}

static void want_of(struct mnt_file *f, const struct fuse_file_info *fi,
		    const struct flock *lock, struct range_lock *ret)
{
	*ret = (struct range_lock){
		.v = f->v,
		.ino = f->ino,
		.owner = fi->lock_owner,
		.kind = CFS_IO_LOCK_BYTES,
		.start = (uint64_t)lock->l_start,
		.end = lock->l_len ? (uint64_t)lock->l_start +
					     (uint64_t)lock->l_len - 1
				   : UINT64_MAX,
		.is_exclusive = lock->l_type == F_WRLCK,
		.pid = lock->l_pid,
		.file = f,
	};
}

void mnt_setlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       struct flock *lock, int sleep)
{
	struct range_lock want;

	(void)node;
	want_of(mnt_file_of(fi), fi, lock, &want);
	lock_or_unlock(req, &want, lock->l_type, sleep);
}

void mnt_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       int op)
{
	struct mnt_file *f = mnt_file_of(fi);
	const struct range_lock want = {
		.v = f->v,
		.ino = f->ino,
		.owner = fi->lock_owner,
		.kind = CFS_IO_LOCK_FILE,
		.end = UINT64_MAX,
		.is_exclusive = (op & ~LOCK_NB) == LOCK_EX,
	};
	const int what = op & ~LOCK_NB;

	(void)node;
	/* From one kind to the other flock lets go in between (flock(2)). */
	if (what != LOCK_UN)
		(void)unset(mnt_of(req)->locks, &want);
	lock_or_unlock(req, &want,
		       what == LOCK_UN   ? F_UNLCK
		       : what == LOCK_EX ? F_WRLCK
					 : F_RDLCK,
		       !(op & LOCK_NB));
}

void mnt_locks_closed(struct mnt_file *f, uint64_t owner, bool is_flock)
{
	const struct range_lock all = {
		.v = f->v,
		.ino = f->ino,
		.owner = owner,
		.kind = is_flock ? CFS_IO_LOCK_FILE : CFS_IO_LOCK_BYTES,
		.end = UINT64_MAX,
	};
	struct mnt_locks *l = f->v ? f->v->m->locks : NULL;

	if (l && atomic_load(&l->has_any))
		(void)unset(l, &all);
}

/* Of one that was set by @f in the end; false: there is none. */
static bool find_left(struct mnt_locks *l, const struct mnt_file *f,
		      struct range_lock *ret)
{
	const struct range_lock *r;

	pthread_mutex_lock(&l->lock);
	for (r = l->all; r; r = r->next)
		if (r->file == f && r->kind == CFS_IO_LOCK_BYTES)
			break;
	if (r)
		*ret = *r;
	pthread_mutex_unlock(&l->lock);
	return r;
}

void mnt_locks_released(struct mnt_file *f)
{
	struct mnt_locks *l = f->v ? f->v->m->locks : NULL;
	struct range_lock left;

	if (!l || !atomic_load(&l->has_any))
		return;
	while (find_left(l, f, &left)) {
		left.start = 0;
		left.end = UINT64_MAX;
		if (unset(l, &left) < 0)
			return;
	}
}

/* ---- asking -------------------------------------------------------------- */

/* Who stands in the way here; false: nobody, or somebody elsewhere. */
static bool find_here(struct mnt_locks *l, const struct range_lock *want,
		      struct flock *ret)
{
	const struct range_lock *r;

	pthread_mutex_lock(&l->lock);
	for (r = l->all; r; r = r->next)
		if (r->v == want->v && r->ino == want->ino &&
		    r->kind == want->kind && r->owner != want->owner &&
		    overlaps(r, want) &&
		    (r->is_exclusive || want->is_exclusive))
			break;
	if (r)
		*ret = (struct flock){
			.l_type = r->is_exclusive ? F_WRLCK : F_RDLCK,
			.l_whence = SEEK_SET,
			.l_start = (off_t)r->start,
			.l_len = r->end == UINT64_MAX
					 ? 0
					 : (off_t)(r->end - r->start + 1),
			.l_pid = r->pid,
		};
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* Of another mount it is known that there is one, not whose. */
void mnt_getlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       struct flock *lock)
{
	struct mnt_locks *l = mnt_of(req)->locks;
	struct cfs_held *held = NULL;
	struct range_lock want;
	struct flock found = *lock;
	int r;

	(void)node;
	want_of(mnt_file_of(fi), fi, lock, &want);
	if (find_here(l, &want, &found)) {
		fuse_reply_lock(req, &found);
		return;
	}
	r = acquire(&want, false, req, &held);
	cfs_io_unlock(held);
	if (r < 0 && r != -EAGAIN) {
		mnt_reply_err(req, r);
		return;
	}
	found.l_type = r == 0 ? F_UNLCK : F_WRLCK;
	found.l_pid = 0;
	fuse_reply_lock(req, &found);
}
