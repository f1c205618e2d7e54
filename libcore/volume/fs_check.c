/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Proof that the inodes of a view make one tree.  One walk over all inodes in
 * the order of their numbers; what refers to another inode is noted in a table
 * and compared as soon as both sides are known.  A walk over that table then
 * finds what is missing, what nothing names, and loops.
 */
#include "volume/fs_check_priv.h"

#include <inttypes.h>

/*
 * An inode in the table: a is its nlink, b how many entries name it, and word
 * holds, from its lowest bit on:
 *   48  parent: its own claim once it is loaded, before that the directory
 *       of the first entry that names it
 *    4  type DT_*, likewise; 0: it is damaged
 *    1  IS_LOADED
 *    2  whether the root is found above it: enum reach
 */
#define PARENT_MASK CFS_INO_MAX
#define TYPE_SHIFT  48u
#define IS_LOADED   (UINT64_C(1) << 52)
#define REACH_SHIFT 53u

enum reach {
	REACH_UNKNOWN,
	REACH_ON_PATH, /* of the climb in progress */
	REACH_DONE,
};

#define PROGRESS_COUNT 1024u /* inodes between two calls */
#define TYPE_DIR       (S_IFDIR >> 12)

static unsigned int type_of(const struct cfs_inomap_entry *node)
{
	return (unsigned int)(node->word >> TYPE_SHIFT & 0xf);
}

static uint64_t parent_of(const struct cfs_inomap_entry *node)
{
	return node->word & PARENT_MASK;
}

static void set_parent_type(struct cfs_inomap_entry *node, uint64_t parent,
			    unsigned int type)
{
	node->word &= ~(PARENT_MASK | UINT64_C(0xf) << TYPE_SHIFT);
	node->word |= (parent & PARENT_MASK) | (uint64_t)type << TYPE_SHIFT;
}

static enum reach reach_of(const struct cfs_inomap_entry *node)
{
	return (enum reach)(node->word >> REACH_SHIFT & 3);
}

static void set_reach(struct cfs_inomap_entry *node, enum reach reach)
{
	node->word &= ~(UINT64_C(3) << REACH_SHIFT);
	node->word |= (uint64_t)reach << REACH_SHIFT;
}

static int no_memory(struct cfs_fs_checking *c)
{
	return cfs_err_set(c->err, -ENOMEM,
			   "check: no memory for more than %" PRIu64 " inodes",
			   c->inode_count);
}

/* --------------------------------------------------- the walk over inodes */

/* An entry of type @type in @dir_ino against what it names. */
static int both_check(struct cfs_fs_checking *c, uint64_t ino,
		      unsigned int type, unsigned int entry_type,
		      uint64_t parent, uint64_t dir_ino)
{
	int r = 0;

	if (type == 0)
		return 0; /* reported as damaged */
	if (type != entry_type)
		r = cfs_fs_check_say(
			c, CFS_FS_PROBLEM_ENTRY, ino,
			"is of type %u, its entry in directory %" PRIu64
			" says %u",
			type, dir_ino, entry_type);
	if (r == 0 && type == TYPE_DIR && parent != dir_ino)
		r = cfs_fs_check_say(c, CFS_FS_PROBLEM_PARENT, ino,
				     "named in directory %" PRIu64 ", but says "
				     "that its parent is %" PRIu64,
				     dir_ino, parent);
	return r;
}

/* @dir_ino has an entry. */
static int entry_note(struct cfs_fs_checking *c, uint64_t dir_ino,
		      const struct cfs_dirent *entry)
{
	struct cfs_inomap_entry *node;

	node = cfs_inomap_add(&c->inodes, entry->ino);
	if (!node)
		return no_memory(c);
	if (node->b < UINT32_MAX)
		node->b++;
	if (node->word & IS_LOADED)
		return both_check(c, entry->ino, type_of(node), entry->type,
				  parent_of(node), dir_ino);
	if (node->b == 1) {
		set_parent_type(node, dir_ino, entry->type);
		return 0;
	}
	/* Two entries of one that is not loaded yet: they must agree. */
	return both_check(c, entry->ino, type_of(node), entry->type,
			  parent_of(node), dir_ino);
}

/* Does a lookup of its name find this entry? */
static int place_check(struct cfs_fs_checking *c, uint64_t dir_ino,
		       uint64_t offset, const struct cfs_dirent *entry)
{
	uint64_t first = cfs_fs_name_offset(c->fs, entry->name,
					    entry->name_bytes);
	struct cfs_fs_slot slot = { .offset = offset };
	int r = 0;

	if (offset - first >= CFS_FS_NAME_WHICH_COUNT)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_HASH, dir_ino,
					"entry %.*s is not where its name "
					"leads",
					(int)entry->name_bytes, entry->name);
	if (offset != first) {
		cfs_fs_lock(c->fs);
		r = cfs_fs_entry_find(c->fs, dir_ino, entry->name,
				      entry->name_bytes, &slot, c->err);
		cfs_fs_unlock(c->fs);
	}
	if (r == 0 && slot.offset != offset)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_HASH, dir_ino,
					"entry %.*s is there twice",
					(int)entry->name_bytes, entry->name);
	/* A damaged one before it is reported when it is reached itself. */
	return r == -EUCLEAN ? 0 : r;
}

static int counts_check(struct cfs_fs_checking *c, uint64_t ino,
			const struct cfs_inode *dir, uint64_t entry_count,
			uint64_t dir_count)
{
	int r = 0;

	if (dir->entry_count != (uint32_t)entry_count)
		r = cfs_fs_check_say(c, CFS_FS_PROBLEM_COUNT, ino,
				     "has %" PRIu64 " entries, but counts %u",
				     entry_count, dir->entry_count);
	if (r == 0 && dir->nlink == 0 && entry_count)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_LINKS, ino,
					"was removed, but has entries");
	if (r == 0 && dir->nlink && dir->nlink != dir_count + 2)
		r = cfs_fs_check_say(c, CFS_FS_PROBLEM_LINKS, ino,
				     "has %" PRIu64 " subdirectories, but %u "
				     "links",
				     dir_count, dir->nlink);
	return r;
}

static int entries_check(struct cfs_fs_checking *c, uint64_t ino,
			 const struct cfs_inode *dir)
{
	uint64_t entry_count = 0, dir_count = 0, at = 0;
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	struct cfs_dirent entry;
	size_t bytes = 0;
	int r;

	for (;; at++) {
		r = cfs_fs_check_next(c, ino, CFS_MAP_DIRENT, &at, buf,
				      sizeof(buf), &bytes);
		if (r != 1)
			break;
		entry_count++;
		if (cfs_dirent_unpack(buf, CFS_MIN(bytes, sizeof(buf)), &entry,
				      NULL) < 0) {
			r = cfs_fs_check_say(c, CFS_FS_PROBLEM_DAMAGED, ino,
					     "an entry does not verify");
		} else {
			dir_count += entry.type == TYPE_DIR;
			r = place_check(c, ino, at, &entry);
			if (r == 0)
				r = entry_note(c, ino, &entry);
		}
		if (r)
			return r;
	}
	return r ? r : counts_check(c, ino, dir, entry_count, dir_count);
}

/* @inode NULL: it is damaged. */
static int inode_note(struct cfs_fs_checking *c, uint64_t ino,
		      const struct cfs_inode *inode)
{
	struct cfs_inomap_entry *node = cfs_inomap_add(&c->inodes, ino);
	uint64_t named_in;
	unsigned int entry_type;

	if (!node)
		return no_memory(c);
	named_in = parent_of(node);
	entry_type = type_of(node);
	node->word |= IS_LOADED;
	set_parent_type(node, inode ? inode->parent : 0,
			inode ? cfs_fs_type_of(inode->mode) : 0);
	node->a = inode ? inode->nlink : 0;
	if (node->b == 0)
		return 0;
	return both_check(c, ino, type_of(node), entry_type, parent_of(node),
			  named_in);
}

static int one_check(struct cfs_fs_checking *c, uint64_t ino)
{
	struct cfs_inode inode;
	int r;

	cfs_fs_lock(c->fs);
	r = cfs_fs_inode_load(c->fs, ino, &inode, c->err);
	cfs_fs_unlock(c->fs);
	if (r == -EUCLEAN) {
		r = inode_note(c, ino, NULL);
		return r ? r
			 : cfs_fs_check_say(c, CFS_FS_PROBLEM_DAMAGED, ino,
					    "does not verify");
	}
	if (r < 0)
		return r;
	r = inode_note(c, ino, &inode);
	if (r == 0)
		r = cfs_fs_check_inode(c, ino, &inode);
	if (r == 0 && S_ISDIR(inode.mode))
		r = entries_check(c, ino, &inode);
	return r;
}

static int inodes_walk(struct cfs_fs_checking *c)
{
	uint64_t ino;
	int r;

	for (ino = 0;; ino++) {
		cfs_fs_lock(c->fs);
		r = cfs_map_next_inode(&c->fs->view, &ino, c->err);
		cfs_fs_unlock(c->fs);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		r = one_check(c, ino);
		if (r)
			return r;
		c->inode_count++;
		if (c->check->progress && c->inode_count % PROGRESS_COUNT == 0)
			r = c->check->progress(c->check->arg, c->inode_count);
		if (r < 0)
			return r;
	}
}

/* ---------------------------------------------------- the walk over names */

static int nameless_check(struct cfs_fs_checking *c,
			  const struct cfs_inomap_entry *node)
{
	int r;

	if (node->a)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_UNREACHABLE,
					node->ino, "nothing names it");
	/* It was open when the time stopped; a clone may have it too, as a
	 * part of its origin that it does not pay for. */
	if (!cfs_fs_is_writable(c->fs) || c->is_clone)
		return 0;
	cfs_fs_lock(c->fs);
	r = cfs_fs_orphan_find(c->fs, node->ino, c->err);
	cfs_fs_unlock(c->fs);
	if (r != -ENOENT)
		return r;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_ORPHAN, node->ino,
				"has no name, and nothing would free it");
}

/* Up from @node to the root, or to where others have been. */
static int climb(struct cfs_fs_checking *c, struct cfs_inomap_entry *node)
{
	struct cfs_inomap_entry *at = node;
	uint64_t loop_ino = 0;

	while (at && type_of(at) == TYPE_DIR && reach_of(at) == REACH_UNKNOWN) {
		set_reach(at, REACH_ON_PATH);
		at = parent_of(at) ? cfs_inomap_get(&c->inodes, parent_of(at))
				   : NULL;
	}
	if (at && reach_of(at) == REACH_ON_PATH)
		loop_ino = at->ino;
	for (at = node; at && reach_of(at) == REACH_ON_PATH;
	     at = parent_of(at) ? cfs_inomap_get(&c->inodes, parent_of(at))
				: NULL)
		set_reach(at, REACH_DONE);
	if (!loop_ino)
		return 0;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_UNREACHABLE, loop_ino,
				"is inside itself: a loop of directories");
}

static int root_check(struct cfs_fs_checking *c,
		      const struct cfs_inomap_entry *node)
{
	if (node->b)
		return cfs_fs_check_say(
			c, CFS_FS_PROBLEM_ENTRY, node->ino,
			"the root has a name in directory %" PRIu64,
			parent_of(node));
	if (parent_of(node) != node->ino)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_PARENT, node->ino,
					"the root is not its own parent");
	return 0;
}

static int names_check(struct cfs_fs_checking *c, struct cfs_inomap_entry *node)
{
	if (!(node->word & IS_LOADED))
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_ENTRY, node->ino,
					"named in directory %" PRIu64
					", but not there",
					parent_of(node));
	if (type_of(node) == 0)
		return 0;
	if (node->ino == c->fs->root_ino)
		return root_check(c, node);
	if (node->b == 0)
		return nameless_check(c, node);
	if (type_of(node) != TYPE_DIR)
		return node->a == node->b
			       ? 0
			       : cfs_fs_check_say(c, CFS_FS_PROBLEM_LINKS,
						  node->ino,
						  "has %u names, but %u links",
						  node->b, node->a);
	if (node->b > 1)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_LINKS, node->ino,
					"a directory with %u names", node->b);
	if (node->a == 0)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_LINKS, node->ino,
					"a removed directory with a name");
	return climb(c, node);
}

static int names_walk(struct cfs_fs_checking *c)
{
	struct cfs_inomap_entry *node;
	size_t index = 0;
	int r = 0;

	node = cfs_inomap_get(&c->inodes, c->fs->root_ino);
	if (!node || !(node->word & IS_LOADED))
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_UNREACHABLE,
					c->fs->root_ino,
					"the root is not there");
	set_reach(node, REACH_DONE);
	while (r == 0 && (node = cfs_inomap_next(&c->inodes, &index)))
		r = names_check(c, node);
	return r;
}

static int branch_load(struct cfs_fs_checking *c)
{
	struct cfs_key key = { .w = {
				       cfs_table_word(CFS_TABLE_BRANCH,
						      c->fs->view.branch),
			       } };
	struct cfs_branch_rec_disk disk;
	struct cfs_branch_rec rec = { .parent = 0 };
	size_t bytes = 0;
	int r;

	cfs_fs_lock(c->fs);
	r = cfs_container_get(cfs_fs_container(c->fs), &key, &disk,
			      sizeof(disk), &bytes, c->err);
	cfs_fs_unlock(c->fs);
	if (r == 0)
		r = cfs_branch_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					  &rec, c->err);
	if (r < 0 && r != -ENOENT)
		return r;
	c->is_clone = rec.parent != 0;
	return 0;
}

int cfs_fs_check(struct cfs_fs *fs, const struct cfs_fs_check *check,
		 uint64_t *ret_inode_count, struct cfs_err *err)
{
	struct cfs_fs_checking c = { .fs = fs, .check = check, .err = err };
	int r;

	r = branch_load(&c);
	if (r == 0)
		r = inodes_walk(&c);
	if (r == 0)
		r = names_walk(&c);
	cfs_inomap_done(&c.inodes);
	if (r == 0 && ret_inode_count)
		*ret_inode_count = c.inode_count;
	return r;
}
