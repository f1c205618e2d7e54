/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random calls that make sense on what a model holds. */
#pragma once

#include "base/rng.h"
#include "crash_model.h"

struct crash_dice {
	struct cfs_rng rng;
	uint64_t count; /* for names that are new */
	uint64_t lun_bytes_max;
	bool is_greedy; /* long writes: the pool fills up */
};

void crash_dice_init(struct crash_dice *d, uint64_t seed);
/* The next call; some of them fail, as they should. */
void crash_dice_roll(struct crash_dice *d, const struct model *m,
		     struct crash_op *ret);
uint64_t crash_dice_below(struct crash_dice *d, uint64_t count);
