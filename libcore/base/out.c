/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/out.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "base/uuid.h"

#define DEPTH_MAX 16u

struct cfs_out {
	json_t *root;
	json_t *stack[DEPTH_MAX]; /* borrowed from root */
	unsigned int depth;       /* of the open one, from 1 */
	int failure;              /* the first, 0: none */
};

static void fail(struct cfs_out *out, int code)
{
	if (out->failure == 0)
		out->failure = code;
}

/*
 * Takes over @v, which is NULL when there was no memory for it.
 * True: it is in the document, and lives as long.
 */
static bool add(struct cfs_out *out, const char *key, json_t *v)
{
	json_t *into = out->stack[out->depth - 1];
	int r;

	if (!v)
		fail(out, -ENOMEM);
	if (out->failure) {
		/* Nothing will be printed, and keys no longer matter. */
		json_decref(v);
		return false;
	}
	if (json_is_array(into)) {
		assert(!key);
		r = json_array_append_new(into, v);
	} else {
		assert(key);
		assert(!json_object_get(into, key));
		r = json_object_set_new(into, key, v);
	}
	if (r < 0)
		fail(out, -ENOMEM);
	return r == 0;
}

int cfs_out_new(const char *schema, unsigned int version, struct cfs_out **ret,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_out_freep) struct cfs_out *out = NULL;

	out = calloc(1, sizeof(*out));
	if (out)
		out->root = json_object();
	if (!out || !out->root)
		return cfs_err_errno(err, -ENOMEM, "output");
	out->stack[0] = out->root;
	out->depth = 1;
	if (schema) {
		cfs_out_str(out, "schema", schema);
		cfs_out_u64(out, "version", version);
	}
	*ret = CFS_STEAL(out);
	return 0;
}

void cfs_out_free(struct cfs_out *out)
{
	if (!out)
		return;
	json_decref(out->root);
	free(out);
}

void cfs_out_freep(struct cfs_out **out)
{
	cfs_out_free(*out);
	*out = NULL;
}

void cfs_out_u64(struct cfs_out *out, const char *key, uint64_t v)
{
	if (v > INT64_MAX)
		fail(out, -EOVERFLOW);
	else
		add(out, key, json_integer((json_int_t)v));
}

void cfs_out_i64(struct cfs_out *out, const char *key, int64_t v)
{
	add(out, key, json_integer(v));
}

void cfs_out_bool(struct cfs_out *out, const char *key, bool v)
{
	add(out, key, json_boolean(v));
}

void cfs_out_null(struct cfs_out *out, const char *key)
{
	add(out, key, json_null());
}

static char *hex_dup(const uint8_t *b, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *s = malloc(2 * n + 1);
	size_t i;

	if (!s)
		return NULL;
	for (i = 0; i < n; i++) {
		s[2 * i] = digits[b[i] >> 4];
		s[2 * i + 1] = digits[b[i] & 15];
	}
	s[2 * n] = '\0';
	return s;
}

/* Text that is no UTF-8: escaped, with the bytes beside it. */
static void add_escaped(struct cfs_out *out, const char *key, const void *p,
			size_t n)
{
	CFS_CLEANUP(cfs_freep) char *text = cfs_text_escape_dup(p, n);
	CFS_CLEANUP(cfs_freep) char *hex = hex_dup(p, n);
	CFS_CLEANUP(cfs_freep) char *hex_key = NULL;

	if (!text || !hex || asprintf(&hex_key, "%s_bytes_hex", key) < 0) {
		hex_key = NULL;
		fail(out, -ENOMEM);
		return;
	}
	add(out, key, json_string(text));
	add(out, hex_key, json_string(hex));
}

void cfs_out_bytes(struct cfs_out *out, const char *key, const void *p,
		   size_t n)
{
	if (cfs_utf8_is_valid(p, n)) {
		add(out, key, json_stringn(n ? p : "", n));
	} else if (key) {
		add_escaped(out, key, p, n);
	} else {
		cfs_out_begin_obj(out, NULL);
		add_escaped(out, "text", p, n);
		cfs_out_end(out);
	}
}

void cfs_out_str(struct cfs_out *out, const char *key, const char *text)
{
	if (text)
		cfs_out_bytes(out, key, text, strlen(text));
	else
		cfs_out_null(out, key);
}

void cfs_out_u64_str(struct cfs_out *out, const char *key, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, v);
	add(out, key, json_string(text));
}

void cfs_out_uuid(struct cfs_out *out, const char *key, const uint8_t uuid[16])
{
	char text[CFS_UUID_TEXT_BYTES];

	if (cfs_uuid_is_null(uuid))
		cfs_out_null(out, key);
	else
		add(out, key, json_string(cfs_uuid_format(uuid, text)));
}

void cfs_out_time_ns(struct cfs_out *out, const char *key, uint64_t realtime_ns)
{
	char text[CFS_TIME_TEXT_BYTES];

	add(out, key, json_string(cfs_time_format_ns(realtime_ns, text)));
}

/* On a failure the open container stays open once more: ends still match. */
static void begin(struct cfs_out *out, const char *key, json_t *v)
{
	json_t *into = out->stack[out->depth - 1];

	assert(out->depth < DEPTH_MAX);
	if (add(out, key, v))
		into = v;
	out->stack[out->depth++] = into;
}

void cfs_out_begin_obj(struct cfs_out *out, const char *key)
{
	begin(out, key, json_object());
}

void cfs_out_begin_array(struct cfs_out *out, const char *key)
{
	begin(out, key, json_array());
}

void cfs_out_end(struct cfs_out *out)
{
	assert(out->depth > 1);
	out->depth--;
}

static int check(const struct cfs_out *out, struct cfs_err *err)
{
	assert(out->depth == 1);
	if (out->failure == -EOVERFLOW)
		return cfs_err_set(err, -EOVERFLOW,
				   "output: a number is "
				   "larger than JSON readers accept");
	if (out->failure)
		return cfs_err_errno(err, out->failure, "output");
	return 0;
}

static int text_of(const json_t *v, bool is_compact, char **ret,
		   struct cfs_err *err)
{
	size_t flags = is_compact ? JSON_COMPACT : JSON_INDENT(2);
	char *text = json_dumps(v, flags | JSON_ENCODE_ANY);

	if (!text)
		return cfs_err_errno(err, -ENOMEM, "output");
	*ret = text;
	return 0;
}

int cfs_out_text(const struct cfs_out *out, bool is_compact, char **ret,
		 struct cfs_err *err)
{
	int r = check(out, err);

	return r < 0 ? r : text_of(out->root, is_compact, ret, err);
}

static int write_failed(struct cfs_err *err)
{
	int code = errno ? -errno : -EIO;

	return cfs_err_errno(err, code, "standard output");
}

static int print_line(const json_t *v, bool is_compact, FILE *f,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *text = NULL;
	int r;

	r = text_of(v, is_compact, &text, err);
	if (r < 0)
		return r;
	errno = 0;
	if (fputs(text, f) == EOF || fputc('\n', f) == EOF)
		return write_failed(err);
	return 0;
}

/* Only a flush tells that a buffered stream has reached its file. */
static int flush(FILE *f, struct cfs_err *err)
{
	errno = 0;
	if (fflush(f) == EOF || ferror(f))
		return write_failed(err);
	return 0;
}

int cfs_out_dump(const struct cfs_out *out, bool is_compact, FILE *f,
		 struct cfs_err *err)
{
	int r;

	r = check(out, err);
	if (r == 0)
		r = print_line(out->root, is_compact, f, err);
	if (r == 0)
		r = flush(f, err);
	return r;
}

int cfs_out_dump_lines(const struct cfs_out *out, const char *key, FILE *f,
		       struct cfs_err *err)
{
	json_t *list, *item;
	size_t i;
	int r;

	r = check(out, err);
	if (r < 0)
		return r;
	list = key ? json_object_get(out->root, key) : NULL;
	if (!json_is_array(list))
		return cfs_out_dump(out, true, f, err);
	json_array_foreach(list, i, item) {
		r = print_line(item, true, f, err);
		if (r < 0)
			return r;
	}
	return flush(f, err);
}
