/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gradual commit: its work is done in steps, between the syncs of those who
 * write small and make durable what they write.  container_gradual.c says when
 * one begins, and what may be done beside it.
 *
 * Thread safety: all calls with the container's lock held.
 */
#pragma once

#include "tree/container_priv.h"

/* A frame of a sync was made, whose content counts as logged: one may begin
 * behind it. */
void cfs_gradual_begin(struct cfs_container *c);
/* Its part for a frame with @page_count pages, while that is on its way.  What
 * fails closes the container. */
void cfs_gradual_step(struct cfs_container *c, uint64_t page_count);
/* Only the root is left to write. */
bool cfs_gradual_is_ready(const struct cfs_container *c);
/* Whatever is left of it; nothing if there is none, or all is closed. */
int cfs_gradual_end(struct cfs_container *c, struct cfs_err *err);
/* Where the log goes on behind it, into its root. */
void cfs_gradual_to_root(const struct cfs_container *c, struct cfs_root *root);
/* Something else than pages changes: syncs of pages are counted anew. */
void cfs_gradual_disturb(struct cfs_container *c);

/*
 * For tests, before any container is open: one begins wherever @log_blocks of
 * the log are used, and each step does @work.  0, 0: as it is in service.
 */
void cfs_gradual_set(uint64_t log_blocks, uint64_t work);
