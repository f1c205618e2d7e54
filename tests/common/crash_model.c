// SPDX-License-Identifier: GPL-3.0-or-later
/* The containers, volumes and snapshots of the model; trees are beside it. */
#include "crash_model_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void crash_bytes(uint64_t seed, uint64_t offset, uint8_t *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		uint64_t word = (offset + i) / 8;
		uint64_t x = (seed * 1000003 + word + 1) *
			     UINT64_C(0x9e3779b97f4a7c15);

		x ^= x >> 29;
		buf[i] = (uint8_t)(x >> ((offset + i) % 8 * 8));
	}
}

/* ---- contents ------------------------------------------------------------ */

static struct content *content_new(bool is_tree, uint64_t size_bytes)
{
	struct content *c = calloc(1, sizeof(*c));

	assert(c);
	c->size_bytes = size_bytes;
	if (is_tree) {
		c->tree = mtree_new();
	} else {
		c->bytes = calloc(1, size_bytes + 1);
		assert(c->bytes);
	}
	return c;
}

static struct content *content_copy(const struct content *from)
{
	struct content *c = calloc(1, sizeof(*c));

	assert(c);
	c->size_bytes = from->size_bytes;
	if (from->tree) {
		c->tree = mtree_copy(from->tree);
		assert(c->tree);
	} else {
		c->bytes = malloc(from->size_bytes + 1);
		assert(c->bytes);
		memcpy(c->bytes, from->bytes, from->size_bytes);
	}
	return c;
}

static void content_free(struct content *c)
{
	if (!c)
		return;
	free(c->bytes);
	mtree_free(c->tree);
	free(c);
}

static void volume_clear(struct volume *v)
{
	content_free(v->head);
	for (unsigned int i = 0; i < v->snap_count; i++)
		content_free(v->snaps[i].content);
	memset(v, 0, sizeof(*v));
}

static void container_clear(struct container *c)
{
	for (unsigned int i = 0; i < MODEL_VOLUMES; i++)
		volume_clear(&c->volumes[i]);
	memset(c, 0, sizeof(*c));
}

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	assert(m);
	return m;
}

/* @c was copied as it is: its contents become its own. */
static void container_own(struct container *c)
{
	for (unsigned int k = 0; k < MODEL_VOLUMES; k++) {
		struct volume *v = &c->volumes[k];

		if (v->head)
			v->head = content_copy(v->head);
		for (unsigned int n = 0; n < v->snap_count; n++)
			v->snaps[n].content = content_copy(v->snaps[n].content);
	}
}

struct container *model_slot_copy(const struct model *m, unsigned int slot)
{
	struct container *c = malloc(sizeof(*c));

	assert(c);
	*c = m->containers[slot];
	container_own(c);
	return c;
}

void model_slot_set(struct model *m, unsigned int slot,
		    const struct container *c)
{
	container_clear(&m->containers[slot]);
	m->containers[slot] = *c;
	container_own(&m->containers[slot]);
	for (unsigned int i = 0; i < MODEL_VOLUMES; i++) {
		const struct volume *v = &c->volumes[i];

		m->last_id = CFS_MAX(m->last_id, v->origin_id);
		for (unsigned int k = 0; k < v->snap_count; k++)
			m->last_id = CFS_MAX(m->last_id, v->snaps[k].id);
	}
}

void model_slot_free(struct container *c)
{
	if (c)
		container_clear(c);
	free(c);
}

void model_free(struct model *m)
{
	if (!m)
		return;
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++)
		container_clear(&m->containers[i]);
	free(m);
}

/* ---- finding ------------------------------------------------------------- */

static struct container *find_container(struct model *m, const char *name,
					size_t length)
{
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		struct container *c = &m->containers[i];

		if (c->in_use && strlen(c->name) == length &&
		    memcmp(c->name, name, length) == 0)
			return c;
	}
	return NULL;
}

static struct volume *find_clone(struct container *c, const char *name)
{
	for (unsigned int i = 1; i < MODEL_VOLUMES; i++)
		if (c->volumes[i].head && strcmp(c->volumes[i].name, name) == 0)
			return &c->volumes[i];
	return NULL;
}

static struct snapshot *find_snap(struct volume *v, const char *name)
{
	for (unsigned int i = 0; i < v->snap_count; i++)
		if (strcmp(v->snaps[i].name, name) == 0)
			return &v->snaps[i];
	return NULL;
}

static void set_name(char ret[MODEL_NAME_BYTES], const char *name)
{
	assert(strlen(name) < MODEL_NAME_BYTES);
	memset(ret, 0, MODEL_NAME_BYTES);
	strcpy(ret, name);
}

/* ---- snapshots and clones ------------------------------------------------ */

static int snap_take(struct volume *v, const char *name, uint64_t id)
{
	struct snapshot *s;

	if (find_snap(v, name))
		return -EEXIST;
	assert(v->snap_count < MODEL_SNAPSHOTS);
	s = &v->snaps[v->snap_count++];
	set_name(s->name, name);
	s->content = content_copy(v->head);
	s->id = id;
	return 0;
}

static bool has_clones(const struct container *c, uint64_t snap_id)
{
	for (unsigned int i = 1; i < MODEL_VOLUMES; i++)
		if (c->volumes[i].head && c->volumes[i].origin_id == snap_id)
			return true;
	return false;
}

static int snap_remove(struct container *c, struct volume *v, const char *name)
{
	struct snapshot *s = find_snap(v, name);
	size_t index;

	if (!s)
		return -ENOENT;
	if (has_clones(c, s->id))
		return -EBUSY;
	content_free(s->content);
	index = (size_t)(s - v->snaps);
	v->snap_count--;
	memmove(s, s + 1, (v->snap_count - index) * sizeof(*s));
	return 0;
}

static int snap_clone(struct container *c, struct volume *v,
		      const struct crash_op *op)
{
	struct snapshot *s = find_snap(v, op->name);

	if (!s)
		return -ENOENT;
	if (find_clone(c, op->name2))
		return -EEXIST;
	for (unsigned int i = 1; i < MODEL_VOLUMES; i++) {
		struct volume *clone = &c->volumes[i];

		if (clone->head)
			continue;
		set_name(clone->name, op->name2);
		clone->head = content_copy(s->content);
		clone->origin_id = s->id;
		return 0;
	}
	abort(); /* generators leave room */
}

static int snap_rollback(struct model *m, struct volume *v,
			 const struct crash_op *op)
{
	struct snapshot *s = find_snap(v, op->name);

	if (!s)
		return -ENOENT;
	if (op->name2[0] && snap_take(v, op->name2, ++m->last_id) < 0)
		return -EEXIST;
	s = find_snap(v, op->name);
	content_free(v->head);
	v->head = content_copy(s->content);
	return 0;
}

static int snap_rename(struct volume *v, const struct crash_op *op)
{
	struct snapshot *s = find_snap(v, op->name);
	struct snapshot *other = find_snap(v, op->name2);

	if (!s)
		return -ENOENT;
	if (other && other != s)
		return -EEXIST;
	set_name(s->name, op->name2);
	return 0;
}

/* ---- volumes ------------------------------------------------------------- */

static int create(struct model *m, const struct crash_op *op, int *ret_slot)
{
	if (find_container(m, op->volume, strlen(op->volume)))
		return -EEXIST;
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		struct container *c = &m->containers[i];

		if (c->in_use)
			continue;
		c->in_use = true;
		c->is_tree = op->is_tree;
		set_name(c->name, op->volume);
		c->volumes[0].head = content_new(op->is_tree, op->length);
		*ret_slot = (int)i;
		return 0;
	}
	abort();
}

/* Takes snapshots and clones along only for a whole container. */
static int volume_remove(struct container *c, struct volume *v)
{
	if (v == &c->volumes[0]) {
		container_clear(c);
		return 0;
	}
	if (v->snap_count)
		return -EBUSY;
	volume_clear(v);
	return 0;
}

static int rename_volume(struct model *m, struct container *c, struct volume *v,
			 const struct crash_op *op)
{
	if (v == &c->volumes[0]) {
		struct container *other = find_container(m, op->name,
							 strlen(op->name));

		if (other && other != c)
			return -EEXIST;
		set_name(c->name, op->name);
		return 0;
	}
	if (find_clone(c, op->name) && find_clone(c, op->name) != v)
		return -EEXIST;
	set_name(v->name, op->name);
	return 0;
}

static int resize(struct content *c, uint64_t size_bytes)
{
	uint8_t *bytes = calloc(1, size_bytes + 1);

	assert(bytes);
	memcpy(bytes, c->bytes, CFS_MIN(size_bytes, c->size_bytes));
	free(c->bytes);
	c->bytes = bytes;
	c->size_bytes = size_bytes;
	return 0;
}

static int lun_change(struct content *c, const struct crash_op *op)
{
	if (op->offset > c->size_bytes ||
	    op->length > c->size_bytes - op->offset)
		return -EINVAL;
	if (op->kind == OP_WRITE)
		crash_bytes(op->seed, op->offset, c->bytes + op->offset,
			    op->length);
	else
		memset(c->bytes + op->offset, 0, op->length);
	return 0;
}

static int apply_volume(struct model *m, struct container *c, struct volume *v,
			const struct crash_op *op)
{
	switch (op->kind) {
	case OP_SYNC:
	case OP_COMMIT:
	case OP_TRIM:
		return 0;
	case OP_SNAP:
		return snap_take(v, op->name, ++m->last_id);
	case OP_SNAP_RM:
		return snap_remove(c, v, op->name);
	case OP_SNAP_RENAME:
		return snap_rename(v, op);
	case OP_CLONE:
		return snap_clone(c, v, op);
	case OP_ROLLBACK:
		return snap_rollback(m, v, op);
	case OP_RM:
		return volume_remove(c, v);
	case OP_RENAME:
		return rename_volume(m, c, v, op);
	case OP_RESIZE:
		return c->is_tree ? -EINVAL : resize(v->head, op->length);
	case OP_WRITE:
	case OP_PUNCH:
		return c->is_tree ? -EINVAL : lun_change(v->head, op);
	default:
		return c->is_tree ? mtree_apply(v->head->tree, op) : -EINVAL;
	}
}

int model_apply(struct model *m, const struct crash_op *op, int *ret_slot)
{
	const char *slash = strchr(op->volume, '/');
	size_t length = slash ? (size_t)(slash - op->volume)
			      : strlen(op->volume);
	struct container *c;
	struct volume *v;

	*ret_slot = -1;
	if (op->kind == OP_REOPEN || op->kind == OP_KILL)
		return 0;
	if (op->kind == OP_CREATE)
		return create(m, op, ret_slot);
	c = find_container(m, op->volume, length);
	if (!c)
		return -ENOENT;
	*ret_slot = (int)(c - m->containers);
	v = slash ? find_clone(c, slash + 1) : &c->volumes[0];
	return v ? apply_volume(m, c, v, op) : -ENOENT;
}

/* ---- for generators ------------------------------------------------------ */

const char *model_container_name(const struct model *m, unsigned int slot,
				 bool *ret_is_tree)
{
	const struct container *c = &m->containers[slot];

	if (ret_is_tree)
		*ret_is_tree = c->is_tree;
	return c->in_use ? c->name : NULL;
}

const char *model_clone_name(const struct model *m, unsigned int slot,
			     unsigned int volume)
{
	const struct volume *v = &m->containers[slot].volumes[volume];

	return v->head ? v->name : NULL;
}

const char *model_snapshot_name(const struct model *m, unsigned int slot,
				unsigned int volume, unsigned int index)
{
	const struct volume *v = &m->containers[slot].volumes[volume];

	return index < v->snap_count ? v->snaps[index].name : NULL;
}

uint64_t model_size_bytes(const struct model *m, unsigned int slot,
			  unsigned int volume)
{
	return m->containers[slot].volumes[volume].head->size_bytes;
}

bool model_pick_path(const struct model *m, unsigned int slot,
		     unsigned int volume, uint64_t random, bool wants_dir,
		     char ret[MODEL_PATH_BYTES])
{
	return mtree_pick(m->containers[slot].volumes[volume].head->tree,
			  random, wants_dir, ret);
}

unsigned int model_node_count(const struct model *m, unsigned int slot,
			      unsigned int volume)
{
	return mtree_count(m->containers[slot].volumes[volume].head->tree);
}
