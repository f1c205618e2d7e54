/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tree.  What was synced is there; of what came since, a crash leaves the
 * first operations in their order, and none of those behind them; of a write by
 * way of a manager, which is some operations, perhaps the first ones.
 */
#include "torture.h"

#include "base/bits.h"
#include "session/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TREE_VOLUME  1000u /* for the content of blocks */
#define PIECE_BLOCKS (CFS_RPC_DATA_BYTES_MAX / BLOCK)

int tree_make(struct torture *t, struct cfs_session *s, struct cfs_err *err)
{
	t->tree.next_version = 1;
	return cfs_session_create(s, "tree", CFS_VOLUME_TREE, 0, 0, false, err);
}

static size_t file_name(char name[16], uint32_t file)
{
	return (size_t)snprintf(name, 16, "file%u", file);
}

/* ---- the model ----------------------------------------------------------- */

static void model_op(struct tree_state *m, const struct tree_op *op)
{
	struct file_state *f = &m->files[op->file];

	switch (op->kind) {
	case TREE_CREATE:
		memset(f, 0, sizeof(*f));
		f->exists = true;
		break;
	case TREE_WRITE:
		for (uint32_t i = 0; i < op->count; i++)
			f->versions[op->block + i] = op->version;
		f->blocks = CFS_MAX(f->blocks, op->block + op->count);
		break;
	case TREE_TRUNCATE:
		for (uint32_t b = op->count; b < FILE_BLOCKS; b++)
			f->versions[b] = 0;
		f->blocks = op->count;
		break;
	case TREE_RENAME:
		m->files[op->other] = *f;
		memset(f, 0, sizeof(*f));
		break;
	case TREE_UNLINK:
		memset(f, 0, sizeof(*f));
		break;
	case TREE_KINDS:
		break;
	}
}

static bool same_file(const struct file_state *a, const struct file_state *b)
{
	return a->exists == b->exists && a->blocks == b->blocks &&
	       memcmp(a->versions, b->versions, sizeof(a->versions)) == 0;
}

/* The first file that differs; FILES: none does. */
static uint32_t differs(const struct tree_state *a, const struct tree_state *b)
{
	uint32_t i = 0;

	while (i < FILES && same_file(&a->files[i], &b->files[i]))
		i++;
	return i;
}

/* ---- operations ---------------------------------------------------------- */

static bool pick_op(const struct tree_state *now, struct cfs_rng *rng,
		    struct tree_op *ret)
{
	const struct file_state *f;

	*ret = (struct tree_op){
		.kind = (enum tree_op_kind)cfs_rng_below(rng, TREE_KINDS + 2),
		.file = (uint32_t)cfs_rng_below(rng, FILES),
		.other = (uint32_t)cfs_rng_below(rng, FILES),
		.block = (uint32_t)cfs_rng_below(rng, FILE_BLOCKS),
	};
	if (ret->kind >= TREE_KINDS)
		ret->kind = TREE_WRITE;
	f = &now->files[ret->file];
	if (!f->exists)
		ret->kind = TREE_CREATE;
	else if (ret->kind == TREE_CREATE)
		ret->kind = TREE_WRITE;
	ret->count = ret->kind == TREE_TRUNCATE
			     ? (uint32_t)cfs_rng_below(rng, FILE_BLOCKS + 1)
			     : 1 + (uint32_t)cfs_rng_below(
					   rng, FILE_BLOCKS - ret->block);
	return ret->kind != TREE_RENAME || ret->file != ret->other;
}

static int do_write(struct cfs_fs *fs, uint64_t ino, const struct tree_op *op,
		    struct cfs_err *err)
{
	uint8_t *buf = malloc((size_t)op->count * BLOCK);
	size_t done = 0;
	int r;

	if (!buf)
		return -ENOMEM;
	for (uint32_t i = 0; i < op->count; i++)
		torture_fill(buf + (size_t)i * BLOCK, TREE_VOLUME,
			     op->block + i, op->version);
	r = cfs_fs_write(fs, ino, (uint64_t)op->block * BLOCK, buf,
			 (size_t)op->count * BLOCK, &done, err);
	free(buf);
	return r;
}

static int do_op(struct cfs_fs *fs, const struct tree_op *op,
		 struct cfs_err *err)
{
	uint64_t root = cfs_fs_root_ino(fs), ino;
	char name[16], other[16];
	size_t n = file_name(name, op->file), m = file_name(other, op->other);
	int r = 0;

	if (op->kind == TREE_WRITE || op->kind == TREE_TRUNCATE)
		r = cfs_fs_lookup(fs, root, name, n, &ino, NULL, err);
	if (r != 0)
		return r;
	switch (op->kind) {
	case TREE_CREATE:
		return cfs_fs_create(fs, root, name, n, 0644, 0, 0, &ino, err);
	case TREE_WRITE:
		return do_write(fs, ino, op, err);
	case TREE_TRUNCATE:
		return cfs_fs_truncate(fs, ino, (uint64_t)op->count * BLOCK,
				       err);
	case TREE_RENAME:
		return cfs_fs_rename(fs, root, name, n, root, other, m, 0, err);
	case TREE_UNLINK:
		return cfs_fs_unlink(fs, root, name, n, err);
	case TREE_KINDS:
		break;
	}
	return -EINVAL;
}

/* Everything up to now becomes what is synced. */
static void start_log(struct tree_logs *logs, const struct tree_state *synced)
{
	unsigned int other = !atomic_load(&logs->current);

	logs->logs[other].synced = *synced;
	logs->logs[other].op_count = 0;
	atomic_store(&logs->current, other);
}

static struct tree_log *current_log(struct tree_logs *logs)
{
	return &logs->logs[atomic_load(&logs->current)];
}

static int do_sync(struct tree_logs *logs, struct cfs_fs *fs,
		   const struct tree_state *now, struct cfs_err *err)
{
	int r = cfs_fs_sync(fs, cfs_fs_root_ino(fs), err);

	if (r == 0)
		start_log(logs, now);
	return r;
}

void tree_work(struct torture *t, struct cfs_session *s, struct cfs_rng *rng)
{
	struct tree_log *log = current_log(&t->tree);
	struct tree_state now = log->synced;
	struct cfs_io_volume *io = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	struct tree_op op;
	struct cfs_fs *fs;
	int r = cfs_io_open(s, "tree", NULL, true, &io, &err);

	if (r != 0) {
		torture_excuse(t, r, "open a tree", &err);
		return;
	}
	fs = cfs_io_fs(io);
	while (!atomic_load(&t->has_failed)) {
		if (log->op_count == TREE_OPS_MAX ||
		    cfs_rng_below(rng, 12) == 0) {
			r = do_sync(&t->tree, fs, &now, &err);
			if (r != 0 && torture_excuse(t, r, "sync a tree", &err))
				break;
			if (r != 0)
				continue;
			log = current_log(&t->tree);
		}
		if (!pick_op(&now, rng, &op))
			continue;
		op.version = t->tree.next_version++;
		log->ops[log->op_count] = op;
		atomic_signal_fence(memory_order_seq_cst);
		log->op_count++;
		r = do_op(fs, &op, &err);
		atomic_fetch_add(&t->done, 1);
		atomic_fetch_or(&t->kinds, 1u << (16 + op.kind));
		if (r == 0) {
			model_op(&now, &op);
			continue;
		}
		/* Half of it may have happened: nobody knows what is next. */
		torture_excuse(t, r, "change a tree", &err);
		break;
	}
	cfs_io_close(io);
}

/* ---- the judge ----------------------------------------------------------- */

static int read_file(struct cfs_fs *fs, uint32_t file, struct file_state *ret,
		     struct cfs_err *err)
{
	static uint8_t buf[FILE_BLOCKS * BLOCK];
	struct cfs_inode inode;
	uint64_t ino;
	size_t got;
	char name[16];
	int r = cfs_fs_lookup(fs, cfs_fs_root_ino(fs), name,
			      file_name(name, file), &ino, &inode, err);

	memset(ret, 0, sizeof(*ret));
	if (r != 0)
		return r == -ENOENT ? 0 : r;
	if (inode.size_bytes % BLOCK || inode.size_bytes > sizeof(buf))
		return cfs_err_set(err, -EUCLEAN, "%s has %llu bytes", name,
				   (unsigned long long)inode.size_bytes);
	ret->exists = true;
	ret->blocks = (uint32_t)(inode.size_bytes / BLOCK);
	r = cfs_fs_read(fs, ino, 0, buf, inode.size_bytes, &got, err);
	if (r == 0 && got != inode.size_bytes)
		r = cfs_err_set(err, -EUCLEAN, "%s is short", name);
	for (uint32_t b = 0; b < ret->blocks && r == 0; b++)
		ret->versions[b] = torture_version(buf + (size_t)b * BLOCK,
						   TREE_VOLUME, b);
	return r;
}

/* A file as text: a version for each block. */
static void show_file(const struct file_state *f, char *buf, size_t room)
{
	size_t n = 0;

	buf[0] = '\0';
	if (!f->exists)
		(void)snprintf(buf, room, "none");
	for (uint32_t b = 0; b < f->blocks && n < room; b++)
		n += (size_t)snprintf(buf + n, room - n, "%s%d", b ? " " : "",
				      (int)f->versions[b]);
}

/* Behind the first @count operations it is most alike, but for @file. */
static void tell(struct torture *t, const struct tree_state *found,
		 uint32_t count, uint32_t file)
{
	static const char *const kinds[] = { "create", "write", "truncate",
					     "rename", "unlink" };
	const struct tree_log *log = current_log(&t->tree);
	const struct tree_op *last = &log->ops[count ? count - 1 : 0];
	struct tree_state m = log->synced;
	char was[200], is[200];

	for (uint32_t i = 0; i < count; i++)
		model_op(&m, &log->ops[i]);
	show_file(&m.files[file], was, sizeof(was));
	show_file(&found->files[file], is, sizeof(is));
	torture_fail(t,
		     "tree: no state since the last sync; after %u of %u "
		     "operations (the last: %s of file%u, %u blocks from %u, "
		     "version %u) file%u should be [%s] and is [%s]",
		     count, log->op_count, kinds[last->kind], last->file,
		     last->count, last->block, last->version, file, was, is);
}

/*
 * Did the last write come as far as the end of a piece of it?  Who asks a
 * manager sends a long one in pieces, each an operation, and dies between two.
 * @before: the state in front of it.
 */
static bool is_cut(const struct tree_state *before, const struct tree_op *op,
		   const struct tree_state *found)
{
	struct tree_op part = *op;

	if (op->kind != TREE_WRITE)
		return false;
	for (part.count = 1; part.count < op->count; part.count++) {
		struct tree_state m = *before;

		if ((part.block + part.count) % PIECE_BLOCKS)
			continue;
		model_op(&m, &part);
		if (differs(&m, found) == FILES)
			return true;
	}
	return false;
}

/* The first of these states that it is; none: what the nearest lacks. */
static void match(struct torture *t, const struct tree_state *found)
{
	const struct tree_log *log = current_log(&t->tree);
	struct tree_state m = log->synced;
	uint32_t file = differs(&m, found), best = 0, best_file = file;

	for (uint32_t i = 0; file != FILES && i < log->op_count; i++) {
		if (t->is_beside && i == log->op_count - 1 &&
		    is_cut(&m, &log->ops[i], found))
			return;
		model_op(&m, &log->ops[i]);
		file = differs(&m, found);
		if (file >= best_file) {
			best = i + 1;
			best_file = file;
		}
	}
	if (file != FILES)
		tell(t, found, best, best_file);
}

void tree_judge(struct torture *t, struct cfs_session *s)
{
	struct cfs_io_volume *io = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	struct tree_state found;
	int r = cfs_io_open(s, "tree", NULL, false, &io, &err);

	for (uint32_t i = 0; i < FILES && r == 0; i++)
		r = read_file(cfs_io_fs(io), i, &found.files[i], &err);
	cfs_io_close(io);
	if (r != 0) {
		torture_fail(t, "tree: %s", err.msg);
		return;
	}
	match(t, &found);
	start_log(&t->tree, &found);
}
