/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sizes and durations as people write them.  What does not fit is refused,
 * never rounded: a size that is silently another is a lost disk.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cfs_err;

/*
 * A number of bytes: digits, then nothing or one of
 *   B; K KiB M MiB G GiB T TiB P PiB E EiB (powers of 1024);
 *   KB MB GB TB PB EB (powers of 1000).
 * The first letter of a unit may be small.  No sign, fraction or space.
 * @ret_bytes  set on success only
 * Returns 0; -EINVAL: not a size; -EOVERFLOW: more than 2^64 - 1 bytes.
 * The message names @text.
 */
int cfs_size_parse(const char *text, uint64_t *ret_bytes, struct cfs_err *err);

/* The same; what is not a multiple of @unit_bytes (not 0) is -EINVAL. */
int cfs_size_parse_multiple(const char *text, uint64_t unit_bytes,
			    uint64_t *ret_bytes, struct cfs_err *err);

#define CFS_SIZE_TEXT_BYTES 24u

/*
 * For people: "0 B", "1 KiB", "1.5 GiB".  At most one decimal, rounded to
 * the nearest, none where it would be 0.  Returns @ret.
 */
char *cfs_size_format(uint64_t bytes, char ret[CFS_SIZE_TEXT_BYTES]);

/*
 * A duration or an age: digits, then nothing or s (seconds), ns, us, ms,
 * m (minutes), h, d (24 hours), w (7 days).
 * @ret_ns  set on success only
 * Returns 0; -EINVAL: not a duration; -EOVERFLOW: past 2^64 - 1 ns, which
 * is 584 years.  The message names @text.
 */
int cfs_duration_parse(const char *text, uint64_t *ret_ns, struct cfs_err *err);

#define CFS_DURATION_TEXT_BYTES 24u

/*
 * For people, two units at most: "0 s", "250 ns", "1.5 ms", "42 s",
 * "2m 05s", "3h 10m", "4d 02h".  Cut below the last digit that is shown, so
 * that no time that is left looks longer than it is.  Returns @ret.
 */
char *cfs_duration_format(uint64_t ns, char ret[CFS_DURATION_TEXT_BYTES]);

/*
 * A whole decimal number, digits only, at most @max.
 * Returns 0; -EINVAL: not a number; -EOVERFLOW: more than @max.
 */
int cfs_u64_parse(const char *text, uint64_t max, uint64_t *ret,
		  struct cfs_err *err);
