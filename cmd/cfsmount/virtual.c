/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Directories that are in no tree:
 *
 *   of a tree       .snapshots/SNAP, in its root
 *   of a pool       NAME, .snapshots/NAME/SNAP, .clones/NAME/CLONE
 *
 * Their nodes say which they are, and of which open volume.
 */
#include "cfsmount/cfsmount.h"

#include "base/vec.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum kind {
	ROOT,          /* of a pool */
	ALL_SNAPSHOTS, /* .snapshots of a pool */
	ALL_CLONES,
	SNAPSHOTS, /* of a volume */
	CLONES,
};

#define CLONES_NAME ".clones"

static fuse_ino_t node_of(enum kind kind, unsigned int slot)
{
	if (kind == ROOT)
		return FUSE_ROOT_ID;
	return (fuse_ino_t)MNT_SLOT_VIRTUAL << MNT_SLOT_SHIFT |
	       (fuse_ino_t)kind << 16 | slot;
}

static enum kind kind_of(fuse_ino_t node)
{
	return node == FUSE_ROOT_ID ? ROOT : (enum kind)(node >> 16 & 0xffff);
}

fuse_ino_t mnt_virtual_snapshots(const struct mnt_volume *v)
{
	return node_of(SNAPSHOTS, v->slot);
}

fuse_ino_t mnt_virtual_clones(const struct mnt_volume *v)
{
	return node_of(CLONES, v->slot);
}

fuse_ino_t mnt_virtual_all(bool snapshots)
{
	return node_of(snapshots ? ALL_SNAPSHOTS : ALL_CLONES, 0);
}

bool mnt_virtual_slot(fuse_ino_t node, unsigned int *ret_slot)
{
	*ret_slot = (unsigned int)(node & 0xffff);
	return kind_of(node) == SNAPSHOTS || kind_of(node) == CLONES;
}

/* The volume that a directory is of, for a call; NULL: of none. */
static struct mnt_volume *volume_of(struct mnt *m, fuse_ino_t node)
{
	unsigned int slot;

	return mnt_virtual_slot(node, &slot) ? mnt_volume_at(m, slot) : NULL;
}

void mnt_virtual_attr(struct mnt *m, fuse_ino_t node, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = node,
		.st_mode = S_IFDIR | 0555,
		.st_nlink = 2,
		.st_blksize = 4096,
		.st_atim = m->since,
		.st_mtim = m->since,
		.st_ctim = m->since,
	};
}

/* ---- looking up ---------------------------------------------------------- */

static int found_virtual(struct mnt *m, struct mnt_volume *v, enum kind kind,
			 struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = node_of(kind, v ? v->slot : 0),
		.generation = v ? v->generation : 0,
		.attr_timeout = 1,
		.entry_timeout = 1,
	};
	mnt_virtual_attr(m, ret->ino, &ret->attr);
	if (v)
		mnt_volume_known(v, 0);
	return 0;
}

/* The root of a volume, or the LUN. */
static int found_volume(struct mnt *m, const char *name, const char *snap,
			struct fuse_entry_param *ret)
{
	struct mnt_volume *v;
	int r = mnt_volume_get(m, name, snap, &v, NULL);

	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param){
		.ino = mnt_node(v, v->root_ino),
		.generation = v->generation,
		.entry_timeout = 1,
	};
	r = mnt_stat_of(v, v->root_ino, &ret->attr);
	if (r == 0)
		mnt_volume_known(v, v->root_ino);
	mnt_volume_put(v);
	return r;
}

/* What stands for NAME in .snapshots and .clones of a pool. */
static int found_for(struct mnt *m, const char *name, enum kind kind,
		     struct fuse_entry_param *ret)
{
	struct mnt_volume *v;
	int r = mnt_volume_get(m, name, NULL, &v, NULL);

	if (r < 0)
		return r;
	r = found_virtual(m, v, kind, ret);
	mnt_volume_put(v);
	return r;
}

static int found_below(struct mnt *m, struct mnt_volume *v, enum kind kind,
		       const char *name, struct fuse_entry_param *ret)
{
	char full[600];

	if (kind == SNAPSHOTS)
		return found_volume(m, v->name, name, ret);
	(void)snprintf(full, sizeof(full), "%s/%s", v->name, name);
	return found_volume(m, full, NULL, ret);
}

static int found_parent(struct mnt *m, struct mnt_volume *v, enum kind kind,
			struct fuse_entry_param *ret)
{
	if (kind <= ALL_CLONES)
		return found_virtual(m, NULL, ROOT, ret);
	if (m->is_whole)
		return found_virtual(
			m, NULL, kind == CLONES ? ALL_CLONES : ALL_SNAPSHOTS,
			ret);
	return found_volume(m, v->name, NULL, ret);
}

int mnt_virtual_lookup(struct mnt *m, fuse_ino_t parent, const char *name,
		       struct fuse_entry_param *ret)
{
	enum kind kind = kind_of(parent);
	struct mnt_volume *v;
	int r = -ENOENT;

	/* A handle's way back to what it is, and to the root. */
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		v = volume_of(m, parent);
		if (v || kind <= ALL_CLONES)
			r = name[1] ? found_parent(m, v, kind, ret)
				    : found_virtual(m, v, kind, ret);
		mnt_volume_put(v);
		return r;
	}
	if (strlen(name) > CFS_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	switch (kind) {
	case ROOT:
		if (strcmp(name, MNT_SNAPSHOTS) == 0)
			return found_virtual(m, NULL, ALL_SNAPSHOTS, ret);
		if (strcmp(name, CLONES_NAME) == 0)
			return found_virtual(m, NULL, ALL_CLONES, ret);
		return cfs_name_check("", name, NULL) < 0
			       ? -ENOENT
			       : found_volume(m, name, NULL, ret);
	case ALL_SNAPSHOTS:
		return found_for(m, name, SNAPSHOTS, ret);
	case ALL_CLONES:
		return found_for(m, name, CLONES, ret);
	case SNAPSHOTS:
	case CLONES:
		v = volume_of(m, parent);
		if (!v)
			return -ESTALE;
		r = cfs_name_check("", name, NULL) < 0
			    ? -ENOENT
			    : found_below(m, v, kind, name, ret);
		mnt_volume_put(v);
		return r;
	}
	return r;
}

/* ---- listing ------------------------------------------------------------- */

struct listing {
	enum kind kind;
	const char *below; /* CLONES */
	CFS_VEC(struct mnt_name) names;
};

static int add(struct listing *l, const char *name, uint16_t type,
	       uint64_t node)
{
	struct mnt_name entry = { .type = type, .node = node };

	(void)snprintf(entry.name, sizeof(entry.name), "%s", name);
	return cfs_vec_push(&l->names, entry);
}

/* The inode number of a tree's root is not known yet. */
static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	const bool is_tree = info->kind == CFS_VOLUME_TREE;
	const uint64_t node = mnt_slot_node(info, NULL, is_tree ? 0 : 1);
	const char *slash = strchr(info->name, '/');
	struct listing *l = arg;
	size_t n;

	if (l->kind == CLONES) {
		n = strlen(l->below);
		if (!slash || (size_t)(slash - info->name) != n ||
		    memcmp(info->name, l->below, n) != 0)
			return 0;
		return add(l, slash + 1, is_tree ? DT_DIR : DT_REG, node);
	}
	if (slash || (l->kind == ALL_CLONES && !info->clone_count))
		return 0;
	if (l->kind == ROOT)
		return add(l, info->name, is_tree ? DT_DIR : DT_REG, node);
	return add(l, info->name, DT_DIR,
		   node_of(l->kind == ALL_CLONES ? CLONES : SNAPSHOTS,
			   (unsigned int)(node >> MNT_SLOT_SHIFT)));
}

/* Whoever looks for the name of what it has a handle of goes by the numbers. */
static void find_roots(struct mnt *m, struct listing *l)
{
	struct cfs_volume_place place;
	char name[600];

	for (size_t i = 0; i < l->names.count; i++) {
		struct mnt_name *e = &l->names.items[i];

		if (e->node & MNT_INO_MASK)
			continue;
		(void)snprintf(name, sizeof(name), "%s%s%s",
			       l->below ? l->below : "", l->below ? "/" : "",
			       e->name);
		if (cfs_session_place_find(m->s, name, NULL, &place, NULL) == 0)
			e->node |= place.ino;
	}
}

static int list_volumes(struct mnt *m, struct listing *l)
{
	int r = cfs_session_volumes_brief(m->s, l->below, add_volume, l, NULL);

	if (r == 0)
		find_roots(m, l);
	return r;
}

struct snapshot_listing {
	struct listing *l;
	struct mnt_volume *of;
	struct cfs_volume_info info;
};

static int add_snapshot(void *arg, const struct cfs_snapshot_info *info)
{
	struct snapshot_listing *s = arg;

	return add(s->l, info->name, s->of->fs ? DT_DIR : DT_REG,
		   mnt_slot_node(&s->info, info, s->of->root_ino));
}

static int list_snapshots(struct mnt *m, struct mnt_volume *v,
			  struct listing *l)
{
	struct snapshot_listing s = { .l = l, .of = v };
	int r = cfs_session_volume_brief(m->s, v->name, &s.info, NULL);

	return r < 0 ? r
		     : cfs_session_snapshots(m->s, v->name, false, add_snapshot,
					     &s, NULL);
}

static int list_into(struct mnt *m, struct mnt_volume *v, struct listing *l)
{
	int r = 0;

	switch (l->kind) {
	case ROOT:
		r = add(l, MNT_SNAPSHOTS, DT_DIR, mnt_virtual_all(true));
		if (r == 0)
			r = add(l, CLONES_NAME, DT_DIR, mnt_virtual_all(false));
		/* fallthrough */
	case ALL_SNAPSHOTS:
	case ALL_CLONES:
		return r < 0 ? r : list_volumes(m, l);
	case CLONES:
		l->below = v->name;
		return list_volumes(m, l);
	case SNAPSHOTS:
		return list_snapshots(m, v, l);
	}
	return -ENOENT;
}

int mnt_virtual_list(struct mnt *m, fuse_ino_t dir, struct mnt_name **ret,
		     size_t *ret_count)
{
	struct listing l = { .kind = kind_of(dir) };
	struct mnt_volume *v = volume_of(m, dir);
	unsigned int slot;
	int r = mnt_virtual_slot(dir, &slot) && !v ? -ESTALE
						   : list_into(m, v, &l);

	mnt_volume_put(v);
	if (r < 0) {
		cfs_vec_done(&l.names);
		return r;
	}
	*ret = l.names.items;
	*ret_count = l.names.count;
	return 0;
}

int mnt_virtual_exists(struct mnt *m, fuse_ino_t node)
{
	struct mnt_volume *v = volume_of(m, node);
	unsigned int slot;

	if (mnt_virtual_slot(node, &slot) && !v)
		return -ESTALE;
	mnt_volume_put(v);
	return 0;
}
