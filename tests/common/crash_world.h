/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pool on simulated devices, driven through sessions as the tools do it, and
 * what it shows, as text.
 */
#pragma once

#include "crash_model.h"
#include "device/sim.h"
#include "session/session.h"
#include "session/session_devices.h"

#define CRASH_DEVICES_MAX 3u

struct crash_shape {
	const char *name;
	unsigned int device_count;
	bool is_mirror;
	uint64_t device_bytes;
	uint64_t slice_bytes;
};
extern const struct crash_shape crash_shape_one;    /* 1 device */
extern const struct crash_shape crash_shape_two;    /* 2, plain */
extern const struct crash_shape crash_shape_mirror; /* 2, mirror */

struct crash_world {
	const struct crash_shape *shape;
	struct cfs_sim *sim;
	struct cfs_session *s; /* NULL: not open */
	unsigned int absent;   /* bit i: device i is not there */
	bool is_readonly;      /* how it is opened */
};

/* Format; the record begins behind that.  Not open yet. */
int crash_world_init(struct crash_world *w, const struct crash_shape *shape,
		     struct cfs_err *err);
void crash_world_done(struct crash_world *w);
int crash_world_open(struct crash_world *w, struct cfs_err *err);
int crash_world_close(struct crash_world *w, struct cfs_err *err);
/* As if the process had been killed. */
void crash_world_drop(struct crash_world *w);
/* One call; reopen too. */
int crash_world_apply(struct crash_world *w, const struct crash_op *op,
		      struct cfs_err *err);

/* Another world that is what a crash of this one leaves; not open. */
int crash_world_fork(const struct crash_world *w,
		     const struct cfs_sim_crash *crash, struct crash_world *ret,
		     struct cfs_err *err);

/* A LUN of this name takes room and is never shown. */
#define CRASH_BALLAST "ballast"

int crash_session_apply(struct cfs_session *s, const struct crash_op *op,
			struct cfs_err *err);

/* What there is, a text for each container, in the order of names. */
struct crash_view {
	char *texts[MODEL_CONTAINERS + 2];
	size_t count;
};
int crash_view_get(struct cfs_session *s, struct crash_view *ret,
		   struct cfs_err *err);
void crash_view_done(struct crash_view *view);

/*
 * Check of all metadata.  0; -EUCLEAN with the first problem in @err; or what
 * stopped it.
 */
int crash_session_check(struct cfs_session *s, struct cfs_err *err);
/* The same of all bytes: a crash is no damage. */
int crash_session_scrub(struct cfs_session *s, struct cfs_err *err);
