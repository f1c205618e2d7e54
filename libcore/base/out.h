/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One writer for all machine-readable output.  A command collects its
 * document first and prints it last, so that one which fails leaves standard
 * output empty.
 *
 * Adding cannot fail for the caller: the first failure (no memory, a number
 * that JSON readers would round) is kept and reported when the document is
 * dumped, which then prints nothing.
 *
 * Keys: snake_case with units, unique in their object, NULL inside an array.
 * Keys and nesting are the program's own; breaking these rules is a bug and
 * an assert.
 *
 * Text that is not UTF-8 cannot be a JSON string.  It is written as
 * cfs_text_escape writes it, and a second key "<key>_bytes_hex" beside it
 * holds the exact bytes in hexadecimal; where that key is missing the string
 * is exact.  Inside an array such text becomes an object with the keys "text"
 * and "text_bytes_hex".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cfs_err;
struct cfs_out;

/*
 * A document: an object, that begins with "schema" and "version" unless
 * @schema is NULL.
 * @ret  the caller's, for cfs_out_free
 * Returns 0 or -ENOMEM.
 */
int cfs_out_new(const char *schema, unsigned int version, struct cfs_out **ret,
		struct cfs_err *err);
void cfs_out_free(struct cfs_out *out);   /* NULL is accepted */
void cfs_out_freep(struct cfs_out **out); /* for CFS_CLEANUP */

void cfs_out_u64(struct cfs_out *out, const char *key, uint64_t v);
void cfs_out_i64(struct cfs_out *out, const char *key, int64_t v);
void cfs_out_bool(struct cfs_out *out, const char *key, bool v);
void cfs_out_null(struct cfs_out *out, const char *key);

/* @text NULL gives null. */
void cfs_out_str(struct cfs_out *out, const char *key, const char *text);
/* @n bytes of text, e.g. a name or a path; a NUL among them is kept. */
void cfs_out_bytes(struct cfs_out *out, const char *key, const void *p,
		   size_t n);

/* Generations and identities of 64 bits: as a string of digits. */
void cfs_out_u64_str(struct cfs_out *out, const char *key, uint64_t v);
/* As text; the null UUID gives null. */
void cfs_out_uuid(struct cfs_out *out, const char *key, const uint8_t uuid[16]);
/* RFC 3339, of nanoseconds since 1970. */
void cfs_out_time_ns(struct cfs_out *out, const char *key,
		     uint64_t realtime_ns);

/* Everything up to the matching end goes into the new object or array. */
void cfs_out_begin_obj(struct cfs_out *out, const char *key);
void cfs_out_begin_array(struct cfs_out *out, const char *key);
void cfs_out_end(struct cfs_out *out);

/*
 * The whole document as text.
 * @is_compact  on one line
 * @ret         the caller's, without a newline at its end
 * Returns 0; -ENOMEM; -EOVERFLOW: a number past 2^63 - 1 was added.
 */
int cfs_out_text(const struct cfs_out *out, bool is_compact, char **ret,
		 struct cfs_err *err);

/*
 * Print the document and a newline to @f and flush it.
 * Returns as cfs_out_text, or the errno of writing (-ENOSPC, -EPIPE ...).
 */
int cfs_out_dump(const struct cfs_out *out, bool is_compact, FILE *f,
		 struct cfs_err *err);

/*
 * JSON Lines: print the items of the array @key of the document, each on a
 * line of its own; without such an array the document itself on one.
 */
int cfs_out_dump_lines(const struct cfs_out *out, const char *key, FILE *f,
		       struct cfs_err *err);
