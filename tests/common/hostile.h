/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pool that an enemy made.  Bytes of a sound one are changed where they
 * mean something, and every checksum above them is made right again: of the
 * page, of the node and of all nodes over it up to the root, of the frame and
 * of those behind it.  So what stands behind the checksums is reached.
 *
 * An edit is ten bytes: which kind of part, which of them (16 bits), where in
 * it (16 bits), what to do, and a value (32 bits), all little-endian.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define HOSTILE_EDIT_BYTES 10u
#define HOSTILE_EDITS_MAX  64u

struct hostile;
struct cfs_dev;

/* Makes the sound pool, with all that a pool can hold, and a log to replay. */
int hostile_new(struct hostile **ret, struct cfs_err *err);
void hostile_free(struct hostile *h);

/* A device that shows the pool with these edits; writes stay in memory. */
int hostile_device(struct hostile *h, const uint8_t *edits, size_t bytes,
		   struct cfs_dev **ret, struct cfs_err *err);

/*
 * Do with it all that tools do: look, check, scrub, read; and then, with a
 * fresh one, write, remove and heal.  Whatever fails may fail, with a word;
 * what must not happen is left to the sanitizers and to the caller's watch.
 * How far it came: 0 it was not opened; 1 to read only; 2 to write too.
 */
int hostile_use(struct hostile *h, const uint8_t *edits, size_t bytes);
