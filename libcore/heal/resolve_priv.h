/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files that ask the trees for a scrub share. */
#pragma once

#include "heal/scrub_priv.h"

/* What a record says of a block that we ask about. */
struct wanted {
	uint64_t vaddr;
	struct cfs_tag tag;
	bool has_csum;
};

struct resolve {
	struct scrub *s;
	CFS_VEC(struct wanted) wanted;
	CFS_VEC(struct cfs_healed_node) healed; /* nodes, to be told */
};

/* What the records say of this block; NULL: nothing. */
const struct wanted *cfs_resolve_wanted(const struct resolve *v,
					uint64_t vaddr);

/* scrub_tags.c: the tag pages of the groups that lost theirs. */
int cfs_resolve_groups(struct resolve *v);
