/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files that move slices between devices share. */
#pragma once

#include "session/devices.h"
#include "session/session_priv.h"
#include "volume/pool_move.h"

/* One move, and for whom. */
struct cfs_move {
	struct cfs_session *s;
	const struct cfs_session_options *calls;
};

/* -EBUSY: slices of this pool cannot be moved now. */
int cfs_move_allowed(struct cfs_session *s, struct cfs_err *err);
/* Only one moves slices; whoever comes second waits, and finds what is left.
 * -EINTR. */
int cfs_move_begin(struct cfs_move *m, struct cfs_err *err);
void cfs_move_end(struct cfs_move *m);
/* No container, volume or device comes or goes until leave; alone: nor does
 * anybody look at them.  @m: struct cfs_move. */
void cfs_move_enter(void *m);
void cfs_move_enter_alone(const struct cfs_move *m);
void cfs_move_leave(void *m);

/* The device, if it is still one of the pool's. */
int cfs_move_find_device(struct cfs_session *s, const char *device,
			 uint32_t *ret_index, struct cfs_device_rec *ret,
			 struct cfs_err *err);
int cfs_move_check_room(struct cfs_session *s, uint32_t device,
			uint64_t extra_slices, struct cfs_move_result *ret,
			struct cfs_err *err);
int cfs_move_begin_evacuation(struct cfs_session *s, uint32_t index,
			      struct cfs_device_rec *rec, struct cfs_err *err);
/* All slices of a device that is being evacuated; adds to @ret. */
int cfs_move_off(struct cfs_move *m, uint32_t index,
		 struct cfs_move_result *ret, struct cfs_err *err);
/* Two places for each slice; adds to @ret. */
int cfs_move_fill(struct cfs_move *m, struct cfs_move_result *ret,
		  struct cfs_err *err);
int cfs_move_may_remove(const struct cfs_session *s, uint32_t index,
			struct cfs_err *err);
/* With the structure for us alone: nobody but those who read, write and flush
 * has the device in hand. */
int cfs_move_take_out(struct cfs_session *s, uint32_t index, bool is_forced,
		      struct cfs_err *err);
