/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the model share. */
#pragma once

#include "crash_model.h"

struct mtree;
struct mtree *mtree_new(void);
struct mtree *mtree_copy(const struct mtree *t);
void mtree_free(struct mtree *t);
int mtree_apply(struct mtree *t, const struct crash_op *op);
void mtree_render(const struct mtree *t, struct cfs_buf *ret);
bool mtree_pick(const struct mtree *t, uint64_t random, bool wants_dir,
		char ret[MODEL_PATH_BYTES]);
unsigned int mtree_count(const struct mtree *t);

struct content {
	uint64_t size_bytes;
	uint8_t *bytes;     /* LUN */
	struct mtree *tree; /* tree */
};

struct snapshot {
	char name[MODEL_NAME_BYTES];
	struct content *content;
	uint64_t id; /* of clones' origins */
};

struct volume {
	char name[MODEL_NAME_BYTES];
	struct content *head;                   /* NULL: not in use */
	struct snapshot snaps[MODEL_SNAPSHOTS]; /* old to new */
	unsigned int snap_count;
	uint64_t origin_id; /* of the snapshot; clones */
};

struct container {
	bool in_use;
	bool is_tree;
	char name[MODEL_NAME_BYTES];
	struct volume volumes[MODEL_VOLUMES];
};

struct model {
	struct container containers[MODEL_CONTAINERS];
	uint64_t last_id;
};
