/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes and snapshots that are open.  The one that is mounted stays open.
 * Others are opened when somebody looks into them and closed soon after the
 * last one has gone, since what is open is not removed or rolled back: so the
 * kernel is asked to forget what it knows of them.
 */
#include "cfsmount/cfsmount.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_NS (2 * CFS_NS_PER_S)

static uint64_t now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static void volume_free(struct mnt_volume *v)
{
	if (!v)
		return;
	if (v->io)
		mnt_cache_unwatch(v);
	cfs_io_close(v->io);
	free(v->name);
	free(v->snap);
	free(v);
}

static bool is_same(const struct mnt_volume *v, const char *name,
		    const char *snap)
{
	return strcmp(v->name, name) == 0 && !v->snap == !snap &&
	       (!snap || strcmp(v->snap, snap) == 0);
}

static struct mnt_volume *find(struct mnt *m, const char *name,
			       const char *snap)
{
	for (struct mnt_volume *v = m->open; v; v = v->next)
		if (is_same(v, name, snap))
			return v;
	return NULL;
}

/* With the lock, so that nothing is opened twice. */
static int volume_open(struct mnt *m, const char *name, const char *snap,
		       struct mnt_volume **ret, struct cfs_err *err)
{
	struct mnt_volume *v = calloc(1, sizeof(*v));
	int r = v ? 0 : -ENOMEM;

	if (v) {
		v->m = m;
		v->is_writable = !snap && !m->opt.is_read_only;
		v->name = strdup(name);
		v->snap = snap ? strdup(snap) : NULL;
		if (!v->name || !v->snap != !snap)
			r = -ENOMEM;
	}
	if (r < 0) {
		volume_free(v);
		return cfs_err_set(err, r, "out of memory");
	}
	r = cfs_io_open(m->s, name, snap, v->is_writable, &v->io, err);
	if (r == 0) {
		v->kind = cfs_io_kind(v->io);
		v->fs = cfs_io_fs(v->io);
		v->root_ino = v->fs ? cfs_fs_root_ino(v->fs) : 1;
		atomic_store(&v->lun_bytes,
			     v->fs ? 0 : cfs_io_size_bytes(v->io));
		clock_gettime(CLOCK_REALTIME, &v->changed);
		r = mnt_cache_watch(v, err);
	}
	if (r == 0)
		r = mnt_slot_take(m, v, err);
	if (r < 0) {
		volume_free(v);
		return r;
	}
	v->next = m->open;
	m->open = v;
	*ret = v;
	return 0;
}

static int get_locked(struct mnt *m, const char *name, const char *snap,
		      struct mnt_volume **ret, struct cfs_err *err)
{
	struct mnt_volume *v = find(m, name, snap);
	int r = v ? 0 : volume_open(m, name, snap, &v, err);

	if (r == 0) {
		v->calls++;
		v->is_told = false;
		*ret = v;
	}
	return r;
}

int mnt_volume_get(struct mnt *m, const char *name, const char *snap,
		   struct mnt_volume **ret, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&m->slots_lock);
	r = get_locked(m, name, snap, ret, err);
	pthread_mutex_unlock(&m->slots_lock);
	return r;
}

struct mnt_volume *mnt_volume_at(struct mnt *m, unsigned int slot)
{
	struct mnt_volume *v = NULL;
	char name[260], snap[128];

	if (slot >= MNT_SLOTS_MAX)
		return NULL;
	pthread_mutex_lock(&m->slots_lock);
	v = m->slots[slot];
	if (v) {
		v->calls++;
		v->is_told = false;
	} else if (mnt_slot_name(m, slot, name, snap) < 0 ||
		   get_locked(m, name, snap[0] ? snap : NULL, &v, NULL) < 0) {
		v = NULL;
	}
	pthread_mutex_unlock(&m->slots_lock);
	return v;
}

void mnt_volume_put(struct mnt_volume *v)
{
	if (!v || v->slot == 0)
		return;
	pthread_mutex_lock(&v->m->slots_lock);
	v->calls--;
	v->last_ns = now_ns();
	pthread_mutex_unlock(&v->m->slots_lock);
}

void mnt_volume_use(struct mnt_volume *v)
{
	if (v->slot == 0)
		return;
	pthread_mutex_lock(&v->m->slots_lock);
	v->calls++;
	pthread_mutex_unlock(&v->m->slots_lock);
}

struct mnt_volume *mnt_volume_of(struct mnt *m, fuse_ino_t node,
				 uint64_t *ret_ino)
{
	const unsigned int slot = (unsigned int)(node >> MNT_SLOT_SHIFT);

	if (node == FUSE_ROOT_ID && !m->is_whole) {
		*ret_ino = m->slots[0]->root_ino;
		return m->slots[0];
	}
	*ret_ino = node & MNT_INO_MASK;
	if (slot == 0)
		return m->slots[0]; /* NULL in a whole pool */
	return mnt_volume_at(m, slot);
}

fuse_ino_t mnt_node(const struct mnt_volume *v, uint64_t ino)
{
	if (v->slot == 0 && ino == v->root_ino)
		return FUSE_ROOT_ID;
	return (fuse_ino_t)v->slot << MNT_SLOT_SHIFT | ino;
}

void mnt_volume_known(struct mnt_volume *v, uint64_t ino)
{
	if (v->slot) {
		pthread_mutex_lock(&v->m->slots_lock);
		v->nodes++;
		pthread_mutex_unlock(&v->m->slots_lock);
	}
	mnt_cache_known(v, ino);
}

void mnt_volume_forgot(struct mnt *m, fuse_ino_t node, uint64_t count)
{
	unsigned int slot = (unsigned int)(node >> MNT_SLOT_SHIFT);
	struct mnt_volume *v;

	if (mnt_is_virtual(m, node) && !mnt_virtual_slot(node, &slot))
		return;
	pthread_mutex_lock(&m->slots_lock);
	v = slot < MNT_SLOTS_MAX ? m->slots[slot] : NULL;
	if (v && slot) {
		v->nodes -= v->nodes < count ? v->nodes : count;
		v->last_ns = now_ns();
	}
	pthread_mutex_unlock(&m->slots_lock);
	if (v && slot == 0 && !mnt_is_virtual(m, node))
		mnt_cache_forgot(v, node & MNT_INO_MASK);
}

/* Where the kernel found it; the rest need not be there. */
static void ask_to_forget(struct mnt *m, fuse_ino_t parent, const char *name)
{
	(void)fuse_lowlevel_notify_inval_entry(m->se, parent, name,
					       strlen(name));
	if (parent != FUSE_ROOT_ID)
		return;
	for (int i = 0; i < 2; i++)
		(void)fuse_lowlevel_notify_inval_entry(
			m->se, mnt_virtual_all(i == 0), name, strlen(name));
}

struct gone {
	fuse_ino_t parent;
	char name[CFS_FILE_NAME_BYTES_MAX + 1];
};

/* What the kernel found it as; false: it cannot be known. */
static bool where_is(struct mnt *m, const struct mnt_volume *v,
		     struct gone *ret)
{
	const char *slash = strchr(v->name, '/');
	const struct mnt_volume *of = NULL;
	char name[300];

	(void)snprintf(name, sizeof(name), "%.*s",
		       slash && !v->snap ? (int)(slash - v->name) : 299,
		       v->name);
	if (v->snap || slash)
		of = find(m, name, NULL);
	if ((v->snap || slash) && !of)
		return false;
	ret->parent = v->snap ? mnt_virtual_snapshots(of)
		      : slash ? mnt_virtual_clones(of)
			      : FUSE_ROOT_ID;
	(void)snprintf(ret->name, sizeof(ret->name), "%s",
		       v->snap ? v->snap
		       : slash ? slash + 1
			       : v->name);
	return true;
}

/* One that the kernel might forget; false: there is none. */
static bool find_idle(struct mnt *m, struct gone *ret)
{
	const uint64_t now = now_ns();

	for (struct mnt_volume *v = m->open; v; v = v->next) {
		if (!v->slot || v->calls || v->is_told || !v->nodes ||
		    now - v->last_ns < IDLE_NS)
			continue;
		v->is_told = true;
		if (!where_is(m, v, ret))
			continue;
		return true;
	}
	return false;
}

static struct mnt_volume *take_unused(struct mnt *m)
{
	const uint64_t now = now_ns();
	struct mnt_volume **at = &m->open, *v;
	struct cfs_err err = CFS_ERR_INIT;

	for (; (v = *at); at = &v->next) {
		if (v->slot && !v->calls && !v->nodes &&
		    (v->is_told || now - v->last_ns >= IDLE_NS)) {
			/* Who syncs all of them does not see this one any
			 * more. */
			if (mnt_sync_volume(v, &err) < 0)
				mnt_note(m, v->name, &err);
			m->slots[v->slot] = NULL;
			*at = v->next;
			return v;
		}
	}
	return NULL;
}

void mnt_volumes_tidy(struct mnt *m)
{
	struct mnt_volume *v;
	struct gone gone;
	bool is;

	do {
		pthread_mutex_lock(&m->slots_lock);
		v = take_unused(m);
		pthread_mutex_unlock(&m->slots_lock);
		volume_free(v);
	} while (v);
	do {
		pthread_mutex_lock(&m->slots_lock);
		is = find_idle(m, &gone);
		pthread_mutex_unlock(&m->slots_lock);
		if (is)
			ask_to_forget(m, gone.parent, gone.name);
	} while (is);
}

void mnt_volumes_close(struct mnt *m)
{
	struct mnt_volume *v;

	while ((v = m->open)) {
		m->open = v->next;
		m->slots[v->slot] = NULL;
		volume_free(v);
	}
}
