/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names, and what has none: calls that touch several inodes, some of which are
 * found under the leases on others.
 */
#include "session/direct_fs_priv.h"

#include <sys/stat.h>

/* What a name stands for, in the order in which calls look. */
struct named {
	uint64_t dir_ino;
	const void *name;
	size_t name_bytes;
	uint64_t ino; /* 0: nothing */
	struct cfs_inode inode;
};

/* 0 also where there is nothing, or never can be: the call itself will say. */
static int look(struct direct_fs *d, struct named *n, struct cfs_err *err)
{
	struct cfs_err own = CFS_ERR_INIT, *upper = err;
	uint64_t ino = 0;
	int r;

	err = &own;
	DIRECT_RUN(d, r,
		   cfs_fs_lookup(d->inner, n->dir_ino, n->name, n->name_bytes,
				 &ino, &n->inode, err));
	n->ino = r < 0 ? 0 : ino;
	if (r != -EIO && r != -EUCLEAN && r != -EAGAIN && r != -ENOMEM &&
	    r != -EROFS && r != -ESTALE)
		return 0;
	if (upper)
		*upper = own;
	return r;
}

static bool has_want(const struct cfs_tree_want *wants, size_t count,
		     uint64_t ino)
{
	for (size_t i = 0; i < count; i++)
		if (wants[i].ino == ino)
			return true;
	return ino == 0;
}

/*
 * Hold @count wants, and X on what @names stand for, and RENAME if @moves says
 * so.  @names are as they are under these leases.
 */
static int hold_named(struct direct_fs *d, const struct cfs_tree_want *base,
		      size_t base_count, struct named *names, size_t count,
		      bool (*moves)(const struct named *names, void *arg),
		      void *arg, struct cfs_tree_pins *ret, struct cfs_err *err)
{
	struct cfs_tree_want wants[CFS_TREE_WANTS_MAX];
	size_t n = base_count;
	bool has_all;
	int r;

	for (size_t i = 0; i < base_count; i++)
		wants[i] = base[i];
	for (;;) {
		r = direct_begin(d, wants, n, ret, err);
		for (size_t i = 0; r == 0 && i < count; i++)
			r = look(d, &names[i], err);
		if (r < 0)
			return ret->has_all ? direct_end(d, ret, r, false, err)
					    : r;
		has_all = !d->locks || ret->is_whole || !moves ||
			  !moves(names, arg) ||
			  has_want(wants, n, CFS_TREE_LOCK_RENAME);
		for (size_t i = 0; i < count && !ret->is_whole; i++)
			has_all &= !d->locks ||
				   has_want(wants, n, names[i].ino);
		if (has_all)
			return 0;
		(void)direct_end(d, ret, 0, false, NULL);
		n = base_count;
		for (size_t i = 0; i < count; i++)
			wants[n++] = (struct cfs_tree_want){ names[i].ino,
							     true };
		if (moves && moves(names, arg))
			wants[n++] = (struct cfs_tree_want){
				CFS_TREE_LOCK_RENAME, true
			};
	}
}

/* ---- the last name ------------------------------------------------------- */

/* An inode that loses a name, and what the others' opens have to do with it. */
struct losing {
	uint64_t ino;
	struct cfs_held *held; /* nobody opens it meanwhile */
	bool is_kept;          /* others have it open */
};

/* If its last name goes, who has it open?  It is counted as open then. */
static int lose_begin(struct direct_fs *d, const struct cfs_tree_pins *pins,
		      const struct named *n, struct losing *ret,
		      struct cfs_err *err)
{
	int r = 1;

	*ret = (struct losing){ .ino = n->ino };
	if (!d->locks || !n->ino ||
	    (n->inode.nlink > 1 && !S_ISDIR(n->inode.mode)))
		return 0;
	r = cfs_tree_locks_alone(d->locks, pins, n->ino, &ret->held, err);
	if (r == 0) {
		DIRECT_RUN(d, r, cfs_fs_open_ino(d->inner, n->ino, err));
		ret->is_kept = r == 0;
	}
	return r < 0 ? r : 0;
}

static void lose_end(struct direct_fs *d, struct losing *l)
{
	if (l->is_kept)
		cfs_fs_leave_ino(d->inner, l->ino);
	cfs_leaser_release(l->held);
}

int direct_remove(void *arg, uint64_t dir_ino, const void *name,
		  size_t name_bytes, bool is_rmdir, struct cfs_err *err)
{
	const struct cfs_tree_want want = { dir_ino, true };
	struct named n = {
		.dir_ino = dir_ino,
		.name = name,
		.name_bytes = name_bytes,
	};
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	struct losing losing;
	int r = hold_named(d, &want, 1, &n, 1, NULL, NULL, &pins, err);

	if (r < 0)
		return r;
	r = lose_begin(d, &pins, &n, &losing, err);
	if (r == 0)
		DIRECT_RUN(d, r,
			   is_rmdir ? cfs_fs_rmdir(d->inner, dir_ino, name,
						   name_bytes, err)
				    : cfs_fs_unlink(d->inner, dir_ino, name,
						    name_bytes, err));
	lose_end(d, &losing);
	return direct_end(d, &pins, r, true, err);
}

/* ---- rename -------------------------------------------------------------- */

/* Does a directory get another parent? */
static bool moves_directory(const struct named *names, void *arg)
{
	const uint32_t *flags = arg;

	if (names[0].dir_ino == names[1].dir_ino)
		return false;
	return (names[0].ino && S_ISDIR(names[0].inode.mode)) ||
	       (*flags & CFS_FS_RENAME_EXCHANGE && names[1].ino &&
		S_ISDIR(names[1].inode.mode));
}

int direct_rename(void *arg, uint64_t old_dir_ino, const void *old_name,
		  size_t old_name_bytes, uint64_t new_dir_ino,
		  const void *new_name, size_t new_name_bytes, uint32_t flags,
		  struct cfs_err *err)
{
	const struct cfs_tree_want wants[2] = {
		{ old_dir_ino, true },
		{ new_dir_ino, true },
	};
	struct named names[2] = {
		{ .dir_ino = old_dir_ino,
		  .name = old_name,
		  .name_bytes = old_name_bytes },
		{ .dir_ino = new_dir_ino,
		  .name = new_name,
		  .name_bytes = new_name_bytes },
	};
	struct direct_fs *d = arg;
	struct losing losing = { .held = NULL };
	struct cfs_tree_pins pins;
	int r = hold_named(d, wants, 2, names, 2, moves_directory, &flags,
			   &pins, err);

	if (r < 0)
		return r;
	if (!(flags & CFS_FS_RENAME_EXCHANGE) && names[0].ino &&
	    names[0].ino != names[1].ino)
		r = lose_begin(d, &pins, &names[1], &losing, err);
	if (r == 0)
		DIRECT_RUN(d, r,
			   cfs_fs_rename(d->inner, old_dir_ino, old_name,
					 old_name_bytes, new_dir_ino, new_name,
					 new_name_bytes, flags, err));
	lose_end(d, &losing);
	return direct_end(d, &pins, r, true, err);
}

/* ---- making -------------------------------------------------------------- */

int direct_create_with(void *arg, uint64_t dir_ino, const void *name,
		       size_t name_bytes, const struct cfs_fs_spec *spec,
		       uint64_t *ret_ino, struct cfs_inode *ret_inode,
		       struct cfs_err *err)
{
	const struct cfs_tree_want want = { dir_ino, true };
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	uint64_t ino = 0;
	int r = direct_begin(d, &want, 1, &pins, err);

	if (r < 0)
		return r;
	DIRECT_RUN(d, r,
		   cfs_fs_create_with(d->inner, dir_ino, name, name_bytes, spec,
				      &ino, ret_inode, err));
	if (r == 0 && d->locks)
		cfs_tree_locks_made(d->locks, &pins, ino);
	r = direct_end(d, &pins, r, true, err);
	if (r == 0 && ret_ino)
		*ret_ino = ino;
	return r;
}

int direct_link(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		size_t name_bytes, struct cfs_err *err)
{
	const struct cfs_tree_want wants[2] = {
		{ dir_ino, true },
		{ ino, true },
	};
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	int r = direct_begin(d, wants, 2, &pins, err);

	if (r < 0)
		return r;
	DIRECT_RUN(d, r,
		   cfs_fs_link(d->inner, ino, dir_ino, name, name_bytes, err));
	return direct_end(d, &pins, r, true, err);
}

/* It is nobody's but ours until it has a name; open from the beginning. */
int direct_create_nameless(void *arg, uint64_t dir_ino,
			   const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			   struct cfs_err *err)
{
	const struct cfs_tree_want want = { dir_ino, false };
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	uint64_t ino = 0;
	int r = direct_begin(d, &want, 1, &pins, err);

	if (r < 0)
		return r;
	DIRECT_RUN(d, r,
		   cfs_fs_create_nameless(d->inner, dir_ino, spec, &ino, err));
	if (r == 0 && d->locks) {
		cfs_tree_locks_made(d->locks, &pins, ino);
		r = cfs_tree_locks_opened(d->locks, ino, err);
		if (r < 0)
			cfs_fs_leave_ino(d->inner, ino);
	}
	r = direct_end(d, &pins, r, true, err);
	if (r == 0)
		*ret_ino = ino;
	return r;
}

int direct_name(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		size_t name_bytes, struct cfs_err *err)
{
	const struct cfs_tree_want wants[2] = {
		{ dir_ino, true },
		{ ino, true },
	};
	struct named old = {
		.dir_ino = dir_ino,
		.name = name,
		.name_bytes = name_bytes,
	};
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	struct losing losing;
	int r = hold_named(d, wants, 2, &old, 1, NULL, NULL, &pins, err);

	if (r < 0)
		return r;
	r = lose_begin(d, &pins, &old, &losing, err);
	if (r == 0)
		DIRECT_RUN(d, r,
			   cfs_fs_name(d->inner, ino, dir_ino, name, name_bytes,
				       err));
	lose_end(d, &losing);
	return direct_end(d, &pins, r, true, err);
}

/* ---- open inodes --------------------------------------------------------- */

int direct_open_ino(void *arg, uint64_t ino, struct cfs_err *err)
{
	const struct cfs_tree_want want = { ino, false };
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	int r = direct_begin(d, &want, 1, &pins, err);

	if (r < 0)
		return r;
	DIRECT_RUN(d, r, cfs_fs_open_ino(d->inner, ino, err));
	if (r == 0 && d->locks) {
		r = cfs_tree_locks_opened(d->locks, ino, err);
		if (r < 0)
			cfs_fs_leave_ino(d->inner, ino);
	}
	return direct_end(d, &pins, r, false, err);
}

/* The last of all who have it open frees it, if it has no name. */
static int close_last(struct direct_fs *d, uint64_t ino,
		      const struct cfs_tree_pins *pins, struct cfs_err *err)
{
	struct cfs_held *held = NULL;
	int r = cfs_tree_locks_alone(d->locks, pins, ino, &held, err);

	if (r > 0)
		DIRECT_RUN(d, r, cfs_fs_close_ino(d->inner, ino, err));
	else
		cfs_fs_leave_ino(d->inner, ino);
	cfs_leaser_release(held);
	return r;
}

int direct_close_ino(void *arg, uint64_t ino, struct cfs_err *err)
{
	struct cfs_tree_want want = { ino, false };
	struct cfs_inode inode = { .nlink = 1 };
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	bool frees = false;
	int r;

	if (direct_gate(d)) {
		r = cfs_fs_close_ino(d->inner, ino, err);
		direct_ungate(d);
		return r;
	}
	r = direct_begin(d, &want, 1, &pins, err);
	if (r == 0) {
		DIRECT_RUN(d, r, cfs_fs_getattr(d->inner, ino, &inode, err));
		frees = r == 0 && inode.nlink == 0 &&
			cfs_container_is_writable(d->view.container);
		r = direct_end(d, &pins, r, false, err);
	}
	if (r == 0 && frees) {
		want.writes = true;
		r = direct_begin(d, &want, 1, &pins, err);
		frees = r == 0;
	}
	if (!cfs_tree_locks_closed(d->locks, ino) || r < 0 || !frees)
		cfs_fs_leave_ino(d->inner, ino);
	else
		r = close_last(d, ino, &pins, err);
	return frees ? direct_end(d, &pins, r, true, err) : r;
}
