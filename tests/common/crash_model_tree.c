// SPDX-License-Identifier: GPL-3.0-or-later
/* The plain tree: inodes with bytes, and names that lead to them. */
#include "crash_model_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	char type;          /* d, f, l; 0: unused */
	unsigned int nlink; /* names */
	uint64_t size_bytes;
	uint8_t *data;
	uint8_t xattr[256];
	size_t xattr_bytes;
};

struct entry {
	bool in_use;
	unsigned int dir, node;
	char name[MODEL_NAME_BYTES];
};

struct mtree {
	struct node nodes[MODEL_NODES]; /* 0 is the root */
	struct entry entries[MODEL_ENTRIES];
};

struct mtree *mtree_new(void)
{
	struct mtree *t = calloc(1, sizeof(*t));

	assert(t);
	t->nodes[0].type = 'd';
	t->nodes[0].nlink = 1;
	return t;
}

struct mtree *mtree_copy(const struct mtree *from)
{
	struct mtree *t = mtree_new();

	*t = *from;
	for (unsigned int i = 0; i < MODEL_NODES; i++) {
		struct node *n = &t->nodes[i];

		if (!n->data)
			continue;
		n->data = malloc(n->size_bytes + 1);
		assert(n->data);
		memcpy(n->data, from->nodes[i].data, n->size_bytes);
	}
	return t;
}

void mtree_free(struct mtree *t)
{
	if (!t)
		return;
	for (unsigned int i = 0; i < MODEL_NODES; i++)
		free(t->nodes[i].data);
	free(t);
}

unsigned int mtree_count(const struct mtree *t)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MODEL_NODES; i++)
		n += t->nodes[i].type != 0;
	return n;
}

/* ---- names -------------------------------------------------------------- */

static struct entry *find_entry(struct mtree *t, unsigned int dir,
				const char *name, size_t length)
{
	for (unsigned int i = 0; i < MODEL_ENTRIES; i++) {
		struct entry *e = &t->entries[i];

		if (e->in_use && e->dir == dir && strlen(e->name) == length &&
		    memcmp(e->name, name, length) == 0)
			return e;
	}
	return NULL;
}

/* The directory and last component of @path; 0 or negative errno. */
static int find_parent(struct mtree *t, const char *path, unsigned int *ret_dir,
		       const char **ret_name)
{
	unsigned int dir = 0;
	const char *slash;

	while ((slash = strchr(path, '/'))) {
		struct entry *e = find_entry(t, dir, path,
					     (size_t)(slash - path));

		if (!e)
			return -ENOENT;
		if (t->nodes[e->node].type != 'd')
			return -ENOTDIR;
		dir = e->node;
		path = slash + 1;
	}
	*ret_dir = dir;
	*ret_name = path;
	return 0;
}

static struct entry *find_path(struct mtree *t, const char *path)
{
	unsigned int dir;
	const char *name;

	if (find_parent(t, path, &dir, &name) < 0)
		return NULL;
	return find_entry(t, dir, name, strlen(name));
}

static bool is_empty_dir(const struct mtree *t, unsigned int dir)
{
	for (unsigned int i = 0; i < MODEL_ENTRIES; i++)
		if (t->entries[i].in_use && t->entries[i].dir == dir)
			return false;
	return true;
}

static int add_entry(struct mtree *t, unsigned int dir, const char *name,
		     unsigned int node)
{
	for (unsigned int i = 0; i < MODEL_ENTRIES; i++) {
		struct entry *e = &t->entries[i];

		if (e->in_use)
			continue;
		memset(e, 0, sizeof(*e));
		e->in_use = true;
		e->dir = dir;
		e->node = node;
		assert(strlen(name) < sizeof(e->name));
		strcpy(e->name, name);
		t->nodes[node].nlink++;
		return 0;
	}
	abort(); /* generators leave room */
}

static void drop_entry(struct mtree *t, struct entry *e)
{
	struct node *n = &t->nodes[e->node];

	e->in_use = false;
	if (--n->nlink > 0)
		return;
	free(n->data);
	memset(n, 0, sizeof(*n));
}

/* The entry of a directory that is not the root. */
static const struct entry *entry_of(const struct mtree *t, unsigned int node)
{
	unsigned int i = 0;

	while (!t->entries[i].in_use || t->entries[i].node != node)
		i++;
	return &t->entries[i];
}

static bool is_below(const struct mtree *t, unsigned int node,
		     unsigned int above)
{
	for (; node != 0; node = entry_of(t, node)->dir)
		if (node == above)
			return true;
	return false;
}

/* ---- calls --------------------------------------------------------------- */

static void set_size(struct node *n, uint64_t size_bytes)
{
	n->data = realloc(n->data, size_bytes + 1);
	assert(n->data);
	if (size_bytes > n->size_bytes)
		memset(n->data + n->size_bytes, 0, size_bytes - n->size_bytes);
	n->size_bytes = size_bytes;
}

static int make(struct mtree *t, const struct crash_op *op, char type)
{
	unsigned int dir, node = 1;
	const char *name;
	int r = find_parent(t, op->name, &dir, &name);

	if (r < 0)
		return r;
	if (find_entry(t, dir, name, strlen(name)))
		return -EEXIST;
	while (node < MODEL_NODES && t->nodes[node].type)
		node++;
	assert(node < MODEL_NODES);
	t->nodes[node].type = type;
	if (type == 'l') {
		set_size(&t->nodes[node], strlen(op->name2));
		memcpy(t->nodes[node].data, op->name2, strlen(op->name2));
	}
	return add_entry(t, dir, name, node);
}

static int change_file(struct mtree *t, const struct crash_op *op)
{
	struct entry *e = find_path(t, op->name);
	struct node *n;

	if (!e)
		return -ENOENT;
	n = &t->nodes[e->node];
	if (op->kind == OP_TXATTR) {
		n->xattr_bytes = op->length;
		crash_bytes(op->seed, 0, n->xattr, op->length);
		return 0;
	}
	if (n->type != 'f')
		return -EINVAL;
	if (op->kind == OP_TTRUNCATE) {
		set_size(n, op->length);
	} else if (op->kind == OP_TPUNCH) {
		uint64_t end = CFS_MIN(op->offset + op->length, n->size_bytes);

		if (op->offset < end)
			memset(n->data + op->offset, 0, end - op->offset);
	} else {
		if (op->offset + op->length > n->size_bytes)
			set_size(n, op->offset + op->length);
		crash_bytes(op->seed, op->offset, n->data + op->offset,
			    op->length);
	}
	return 0;
}

static int link_node(struct mtree *t, const struct crash_op *op)
{
	struct entry *e = find_path(t, op->name);
	unsigned int dir;
	const char *name;
	int r = find_parent(t, op->name2, &dir, &name);

	if (!e || r < 0)
		return -ENOENT;
	if (t->nodes[e->node].type == 'd')
		return -EPERM;
	if (find_entry(t, dir, name, strlen(name)))
		return -EEXIST;
	return add_entry(t, dir, name, e->node);
}

static int unlink_node(struct mtree *t, const struct crash_op *op)
{
	struct entry *e = find_path(t, op->name);
	bool is_dir;

	if (!e)
		return -ENOENT;
	is_dir = t->nodes[e->node].type == 'd';
	if (is_dir != (op->kind == OP_TRMDIR))
		return is_dir ? -EISDIR : -ENOTDIR;
	if (is_dir && !is_empty_dir(t, e->node))
		return -ENOTEMPTY;
	drop_entry(t, e);
	return 0;
}

static int rename_node(struct mtree *t, const struct crash_op *op)
{
	struct entry *from = find_path(t, op->name), *to;
	unsigned int dir;
	const char *name;
	bool is_dir;
	int r = find_parent(t, op->name2, &dir, &name);

	if (!from || r < 0)
		return -ENOENT;
	is_dir = t->nodes[from->node].type == 'd';
	if (is_dir && is_below(t, dir, from->node))
		return -EINVAL;
	to = find_entry(t, dir, name, strlen(name));
	if (to && to->node == from->node)
		return 0;
	if (to) {
		bool to_dir = t->nodes[to->node].type == 'd';

		if (is_dir != to_dir)
			return to_dir ? -EISDIR : -ENOTDIR;
		if (to_dir && !is_empty_dir(t, to->node))
			return -ENOTEMPTY;
		drop_entry(t, to);
	}
	from->dir = dir;
	memset(from->name, 0, sizeof(from->name));
	assert(strlen(name) < sizeof(from->name));
	strcpy(from->name, name);
	return 0;
}

int mtree_apply(struct mtree *t, const struct crash_op *op)
{
	switch (op->kind) {
	case OP_TCREATE:
		return make(t, op, 'f');
	case OP_TMKDIR:
		return make(t, op, 'd');
	case OP_TSYMLINK:
		return make(t, op, 'l');
	case OP_TWRITE:
	case OP_TTRUNCATE:
	case OP_TPUNCH:
	case OP_TXATTR:
		return change_file(t, op);
	case OP_TLINK:
		return link_node(t, op);
	case OP_TUNLINK:
	case OP_TRMDIR:
		return unlink_node(t, op);
	case OP_TRENAME:
		return rename_node(t, op);
	default:
		return -EINVAL;
	}
}

/* ---- rendering --------------------------------------------------------------
 */

struct render {
	const struct mtree *t;
	struct cfs_buf *ret;
	unsigned int numbers[MODEL_NODES]; /* 0: not seen yet */
	unsigned int last;
};

static void render_dir(struct render *st, unsigned int dir, const char *path);

static void render_entry(struct render *st, const struct entry *e,
			 const char *dir_path)
{
	const struct node *n = &st->t->nodes[e->node];
	char path[1024];
	struct crash_node_text text = {
		.path = path,
		.type = n->type,
		.nlink = n->nlink,
		.size_bytes = n->size_bytes,
		.data = n->data,
		.xattr = n->xattr,
		.xattr_bytes = n->xattr_bytes,
	};

	snprintf(path, sizeof(path), "%s/%s", dir_path, e->name);
	if (!st->numbers[e->node])
		st->numbers[e->node] = ++st->last;
	text.number = st->numbers[e->node];
	crash_render_node(st->ret, &text);
	if (n->type == 'd')
		render_dir(st, e->node, path);
}

/* Entries in the order of names: the next one behind the last each time. */
static void render_dir(struct render *st, unsigned int dir, const char *path)
{
	const struct entry *last = NULL;

	for (;;) {
		const struct entry *next = NULL;

		for (unsigned int i = 0; i < MODEL_ENTRIES; i++) {
			const struct entry *e = &st->t->entries[i];

			if (e->in_use && e->dir == dir &&
			    (!last || strcmp(e->name, last->name) > 0) &&
			    (!next || strcmp(e->name, next->name) < 0))
				next = e;
		}
		if (!next)
			return;
		render_entry(st, next, path);
		last = next;
	}
}

void mtree_render(const struct mtree *t, struct cfs_buf *ret)
{
	struct render st = { .t = t, .ret = ret };

	render_dir(&st, 0, "");
}

/* False: too long. */
static bool path_of(const struct mtree *t, const struct entry *e,
		    char ret[MODEL_PATH_BYTES])
{
	char path[MODEL_PATH_BYTES];

	strcpy(ret, e->name);
	while (e->dir != 0) {
		e = entry_of(t, e->dir);
		/* Room for one more component, which the caller may add. */
		if (snprintf(path, sizeof(path), "%s/%s", e->name, ret) >=
		    (int)sizeof(path) - 6)
			return false;
		strcpy(ret, path);
	}
	return true;
}

bool mtree_pick(const struct mtree *t, uint64_t random, bool wants_dir,
		char ret[MODEL_PATH_BYTES])
{
	for (unsigned int i = 0; i < MODEL_ENTRIES; i++) {
		const struct entry *e =
			&t->entries[(random + i) % MODEL_ENTRIES];

		if (e->in_use && (t->nodes[e->node].type == 'd') == wants_dir &&
		    path_of(t, e, ret))
			return true;
	}
	return false;
}
