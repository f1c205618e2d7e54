/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl tree: what came from what.  A volume holds its snapshots from old to
 * new; a clone hangs on the snapshot it was made from, and so do the snapshots
 * that were taken after a rollback to one.
 */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "ondisk/table.h"

#include <stdlib.h>
#include <string.h>

struct node {
	char name[400];   /* "vm0", "vm0/c1", "vm0@a" */
	const char *kind; /* "volume", "clone", "snapshot" */
	size_t parent;    /* itself: a root */
	uint64_t created_ns;
	bool is_held;
	char note[256];
};

struct volume {
	char name[260];
	char origin[400];
	uint64_t created_ns;
	bool is_placed;
};

struct forest {
	struct cfs_cmd *cmd;
	CFS_VEC(struct volume) volumes;
	struct snapctl_list list;
	CFS_VEC(struct node) nodes;
};

static void forest_donep(struct forest *f)
{
	cfs_vec_done(&f->volumes);
	cfs_vec_done(&f->nodes);
	snapctl_list_donep(&f->list);
}

/* -------------------------------------------------------------- planting */

static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	struct forest *f = arg;
	struct volume v = { .created_ns = info->created_ns };

	(void)snprintf(v.name, sizeof(v.name), "%s", info->name);
	(void)snprintf(v.origin, sizeof(v.origin), "%s", info->origin);
	return cfs_vec_push(&f->volumes, v) < 0 ? -ENOMEM : 0;
}

/* The newest node of this name from @from on; SIZE_MAX: there is none. */
static size_t find(const struct forest *f, size_t from, const char *name)
{
	size_t i;

	for (i = f->nodes.count; i-- > from;) {
		if (!strcmp(f->nodes.items[i].name, name))
			return i;
	}
	return SIZE_MAX;
}

static int plant(struct forest *f, const struct node *node)
{
	return cfs_vec_push(&f->nodes, *node) < 0 ? -ENOMEM : 0;
}

/*
 * The node a snapshot hangs on: the one its branch began at, if that is a
 * snapshot of the same volume (a rollback); else the volume.
 */
static size_t parent_of(const struct forest *f, size_t volume,
			const struct cfs_snapshot_info *info)
{
	const char *branch = strchr(info->branch_of, '@');
	char name[400];
	size_t i;

	if (!info->branch_of[0])
		return volume;
	(void)snprintf(name, sizeof(name), "%s@%s", info->volume,
		       branch ? branch + 1 : info->branch_of);
	if (branch && strcmp(name, info->branch_of) != 0)
		return volume;
	i = find(f, volume, name);
	return i == SIZE_MAX ? volume : i;
}

static int plant_volume(struct forest *f, struct volume *v, size_t parent)
{
	struct node node = { .kind = "volume", .created_ns = v->created_ns };
	const struct cfs_snapshot_info *info;
	size_t at = f->nodes.count, i;
	int r;

	(void)snprintf(node.name, sizeof(node.name), "%s", v->name);
	node.parent = parent == SIZE_MAX ? at : parent;
	if (strchr(v->name, '/'))
		node.kind = "clone";
	v->is_placed = true;
	r = plant(f, &node);
	for (i = 0; i < f->list.snaps.count && r == 0; i++) {
		info = &f->list.snaps.items[i];
		if (strcmp(info->volume, v->name) != 0)
			continue;
		node = (struct node){
			.kind = "snapshot",
			.created_ns = info->created_ns,
			.is_held = info->is_held,
			.parent = parent_of(f, at, info),
		};
		(void)snprintf(node.name, sizeof(node.name), "%s@%s",
			       info->volume, info->name);
		memcpy(node.note, info->note, sizeof(node.note));
		r = plant(f, &node);
	}
	return r;
}

/* Production volumes and what hangs on them, then clones of clones. */
static int plant_all(struct forest *f)
{
	bool is_moving = true;
	struct volume *v;
	size_t i, parent;
	int r = 0;

	while (is_moving && r == 0) {
		is_moving = false;
		for (i = 0; i < f->volumes.count && r == 0; i++) {
			v = &f->volumes.items[i];
			if (v->is_placed)
				continue;
			parent = v->origin[0] ? find(f, 0, v->origin)
					      : SIZE_MAX;
			if (v->origin[0] && parent == SIZE_MAX)
				continue;
			is_moving = true;
			r = plant_volume(f, v, parent);
		}
	}
	/* A clone whose origin is gone stands alone. */
	for (i = 0; i < f->volumes.count && r == 0; i++) {
		if (!f->volumes.items[i].is_placed)
			r = plant_volume(f, &f->volumes.items[i], SIZE_MAX);
	}
	return r;
}

/* --------------------------------------------------------------- showing */

/* The children of one parent stand together, in their order. */
static int draw(const struct forest *f)
{
	CFS_CLEANUP(cfs_freep) struct cfs_draw_node *nodes = NULL;
	size_t count = f->nodes.count, i;
	char(*labels)[800];
	char when[CFS_TIME_TEXT_BYTES];
	const struct node *n;

	nodes = calloc(count + 1, sizeof(*nodes));
	labels = calloc(count + 1, sizeof(*labels));
	if (!nodes || !labels) {
		free(labels);
		return cfs_err_set(&f->cmd->err, -ENOMEM, "out of memory");
	}
	for (i = 0; i < count; i++) {
		n = &f->nodes.items[i];
		cfs_time_format_ns(n->created_ns, when);
		when[19] = '\0'; /* to the second */
		(void)snprintf(labels[i], sizeof(labels[i]), "%s  %sZ%s%s%s",
			       n->name, when, n->is_held ? "  held" : "",
			       n->note[0] ? "  " : "", n->note);
		nodes[i].label = labels[i];
		nodes[i].parent = n->parent;
	}
	cfs_draw_tree(f->cmd, nodes, count);
	free(labels);
	return 0;
}

static void put_dot(const struct forest *f)
{
	const struct node *n;
	size_t i;

	cfs_cmd_print(f->cmd, "digraph cfs {\n\trankdir=LR;\n");
	/* Names have no character that Graphviz would take amiss. */
	for (i = 0; i < f->nodes.count; i++) {
		n = &f->nodes.items[i];
		cfs_cmd_print(f->cmd, "\t\"%s\" [shape=%s];\n", n->name,
			      strcmp(n->kind, "snapshot") ? "box" : "ellipse");
		if (n->parent != i)
			cfs_cmd_print(f->cmd, "\t\"%s\" -> \"%s\";\n",
				      f->nodes.items[n->parent].name, n->name);
	}
	cfs_cmd_print(f->cmd, "}\n");
}

static void put_json(const struct forest *f)
{
	struct cfs_out *out = f->cmd->out;
	const struct node *n;
	size_t i;

	cfs_out_begin_array(out, "nodes");
	for (i = 0; i < f->nodes.count; i++) {
		n = &f->nodes.items[i];
		cfs_out_begin_obj(out, NULL);
		cfs_out_str(out, "name", n->name);
		cfs_out_str(out, "kind", n->kind);
		cfs_out_str(out, "parent",
			    n->parent == i ? NULL
					   : f->nodes.items[n->parent].name);
		cfs_out_time_ns(out, "created_at", n->created_ns);
		cfs_out_bool(out, "is_held", n->is_held);
		cfs_out_str(out, "note", n->note);
		cfs_out_end(out);
	}
	cfs_out_end(out);
}

/* ------------------------------------------------------------------ verb */

/* The snapshots of all volumes that were found. */
static int collect(struct forest *f, struct cfs_session *s,
		   const char *container)
{
	struct cfs_err *err = &f->cmd->err;
	size_t i;
	int r = cfs_session_volumes(s, container, add_volume, f, err);

	if (r == 0 && !container)
		return snapctl_list_fill(s, NULL, false, &f->list, err);
	for (i = 0; i < f->volumes.count && r == 0; i++)
		r = snapctl_list_fill(s, f->volumes.items[i].name, false,
				      &f->list, err);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(forest_donep) struct forest f = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0)
		r = snapctl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	r = collect(&f, s, name.container);
	if (r == 0)
		r = plant_all(&f);
	if (r == -ENOMEM && !cmd->err.code)
		r = cfs_err_set(&cmd->err, r, "out of memory");
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	put_json(&f);
	if (!cfs_cmd_has(cmd, "dot"))
		return draw(&f);
	put_dot(&f);
	return 0;
}

const struct cfs_verb snapctl_tree = {
	.name = "tree",
	.operands = "POOL[:NAME]",
	.help = "show which volume and snapshot came from which",
	.examples = "snapctl tree pool.img\n"
		    "snapctl tree --dot pool.img:vm0 | dot -Tsvg >vm0.svg",
	.opts = CFS_OPTS({ .name = "dot",
			   .conflicts = "json json-lines",
			   .help = "write it for Graphviz" }),
	.common = CFS_COMMON_READ,
	.items = "nodes",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
