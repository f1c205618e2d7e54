/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Growable arrays of any type:
 *
 *   CFS_VEC(uint64_t) starts = CFS_VEC_INIT;
 *
 *   if (cfs_vec_push(&starts, 7) < 0)
 *           return -ENOMEM;
 *   for (i = 0; i < starts.count; i++)
 *           use(starts.items[i]);
 *   cfs_vec_done(&starts);
 *
 * Items are moved by memcpy when the array grows: no pointers to them are
 * kept across a push.  Out of memory leaves the array as it was.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CFS_VEC(type)                                                          \
	struct {                                                               \
		type *items;                                                   \
		size_t count, room;                                            \
	}
#define CFS_VEC_INIT                                                           \
	{                                                                      \
		.items = NULL, .count = 0, .room = 0                           \
	}

/*
 * @items with room for @need items of @item_bytes each; @room in and out.
 * NULL: no memory, @items still valid.
 */
void *cfs_vec_grown(void *items, size_t need, size_t item_bytes, size_t *room);

/* Room for @more items behind the last.  0 or -1. */
#define cfs_vec_reserve(v, more)                                               \
	__extension__({                                                        \
		__typeof__(v) v_ = (v);                                        \
		void *grown_ = cfs_vec_grown(v_->items, v_->count + (more),    \
					     sizeof(*v_->items), &v_->room);   \
		if (grown_)                                                    \
			v_->items = grown_;                                    \
		grown_ ? 0 : -1;                                               \
	})

/* 0, or -1: no memory; nothing was added. */
#define cfs_vec_push(v, ...)                                                   \
	__extension__({                                                        \
		__typeof__(v) p_ = (v);                                        \
		int r_ = cfs_vec_reserve(p_, 1);                               \
		if (r_ == 0)                                                   \
			p_->items[p_->count++] = (__VA_ARGS__);                \
		r_;                                                            \
	})

#define cfs_vec_done(v)                                                        \
	do {                                                                   \
		__typeof__(v) d_ = (v);                                        \
		free(d_->items);                                               \
		d_->items = NULL;                                              \
		d_->count = 0;                                                 \
		d_->room = 0;                                                  \
	} while (0)
