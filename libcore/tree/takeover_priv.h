/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about a takeover share. */
#pragma once

#include "tree/container_takeover.h"
#include "tree/space_priv.h"

enum takeover_adopt { ADOPT_COPIED, ADOPT_IN_PLACE };

struct takeover {
	const struct cfs_container_move *move;
	bool fills_log;
	struct cfs_root old; /* of the old writer */
	uint32_t old_epoch;  /* who wrote that: its own, or that of
			      * one before */
	uint64_t old_places[CFS_ROOT_PLACES_MAX];
	enum takeover_adopt adopt;
};

/* container_frozen.c */
/* All that the old writer had: loans are frozen, its places retired. */
int cfs_takeover_freeze_all(struct cfs_container *c, const struct takeover *t,
			    struct cfs_err *err);
