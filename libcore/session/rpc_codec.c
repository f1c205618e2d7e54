/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/rpc_codec.h"

#include "base/bits.h"
#include "base/le.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 32u
#define WORDS_MAX  256u
#define DEPTH_MAX  4u /* of structs within structs */

/* ---- words --------------------------------------------------------------- */

static pthread_mutex_t words_mutex = PTHREAD_MUTEX_INITIALIZER;
static char words[WORDS_MAX][WORD_BYTES];
static size_t word_count;

const char *cfs_rpc_word(const char *word)
{
	const char *ret = "other";
	size_t i;

	if (strlen(word) >= WORD_BYTES)
		return ret;
	pthread_mutex_lock(&words_mutex);
	for (i = 0; i < word_count && strcmp(words[i], word) != 0; i++)
		;
	if (i == word_count && i < WORDS_MAX) {
		strcpy(words[i], word);
		word_count++;
	}
	if (i < word_count)
		ret = words[i];
	pthread_mutex_unlock(&words_mutex);
	return ret;
}

/* ---- arena --------------------------------------------------------------- */

struct piece {
	struct piece *next;
	max_align_t bytes[];
};

static void *arena_get(struct cfs_rpc_arena *arena, size_t count, size_t bytes)
{
	struct piece *p;

	if (bytes && count > (SIZE_MAX / 2 - sizeof(*p)) / bytes)
		return NULL;
	p = calloc(1, sizeof(*p) + count * bytes);
	if (!p)
		return NULL;
	p->next = arena->first;
	arena->first = p;
	return p->bytes;
}

uint8_t *cfs_rpc_arena_copy(struct cfs_rpc_arena *arena, const void *from,
			    size_t bytes)
{
	uint8_t *copy = arena_get(arena, 1, bytes);

	if (copy && bytes)
		memcpy(copy, from, bytes);
	return copy;
}

void cfs_rpc_arena_donep(struct cfs_rpc_arena *arena)
{
	struct piece *p;

	while ((p = arena->first)) {
		arena->first = p->next;
		free(p);
	}
}

/* ---- packing ------------------------------------------------------------- */

static int put_u32(struct cfs_buf *to, uint64_t v)
{
	const le32 disk = le32_put((uint32_t)v);

	return v > UINT32_MAX ? -EMSGSIZE
			      : cfs_buf_append(to, &disk, sizeof(disk));
}

static int put_text(struct cfs_buf *to, const char *text)
{
	size_t bytes = text ? strlen(text) + 1 : 0;
	int r = put_u32(to, bytes);

	return r < 0 ? r : cfs_buf_append(to, text, bytes);
}

static int put_bytes(struct cfs_buf *to, const void *p, size_t bytes)
{
	int r = put_u32(to, bytes);

	return r < 0 ? r : cfs_buf_append(to, p, bytes);
}

static int pack_fields(const struct cfs_rpc_shape *shape, const uint8_t *from,
		       struct cfs_buf *to);

static int put_list(const struct cfs_rpc_shape *shape, const uint8_t *list,
		    size_t count, struct cfs_buf *to)
{
	int r = put_u32(to, count);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = pack_fields(shape, list + i * shape->bytes, to);
	return r;
}

static int put_number(const struct cfs_rpc_field *f, const uint8_t *at,
		      struct cfs_buf *to)
{
	uint8_t bytes[8];
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (f->kind) {
	case CFS_RPC_BOOL:
		bytes[0] = *(const bool *)at;
		return cfs_buf_append(to, bytes, 1);
	case CFS_RPC_U16:
		memcpy(&v16, at, sizeof(v16));
		bytes[0] = (uint8_t)v16;
		bytes[1] = (uint8_t)(v16 >> 8);
		return cfs_buf_append(to, bytes, 2);
	case CFS_RPC_U32:
		memcpy(&v32, at, sizeof(v32));
		return put_u32(to, v32);
	default:
		memcpy(&v64, at, sizeof(v64));
		for (unsigned int i = 0; i < 8; i++)
			bytes[i] = (uint8_t)(v64 >> 8 * i);
		return cfs_buf_append(to, bytes, 8);
	}
}

static int pack_field(const struct cfs_rpc_field *f, const uint8_t *from,
		      struct cfs_buf *to)
{
	const uint8_t *at = from + f->offset;
	const void *p;
	size_t count;

	switch (f->kind) {
	case CFS_RPC_ARRAY:
		return cfs_buf_append(to, at, f->bytes);
	case CFS_RPC_TEXT:
		return put_text(to, (const char *)at);
	case CFS_RPC_STRING:
	case CFS_RPC_OPTIONAL:
		memcpy(&p, at, sizeof(p));
		return put_text(to, p);
	case CFS_RPC_WORD:
		/* Of a result that a failure left empty. */
		memcpy(&p, at, sizeof(p));
		return put_text(to, p ? p : "");
	case CFS_RPC_BLOB:
	case CFS_RPC_LIST:
		memcpy(&p, at, sizeof(p));
		memcpy(&count, from + f->count_offset, sizeof(count));
		return f->kind == CFS_RPC_BLOB
			       ? put_bytes(to, p, count)
			       : put_list(f->shape, p, count, to);
	case CFS_RPC_INLINE:
		return pack_fields(f->shape, at, to);
	default:
		return put_number(f, at, to);
	}
}

static int pack_fields(const struct cfs_rpc_shape *shape, const uint8_t *from,
		       struct cfs_buf *to)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < shape->count; i++)
		r = pack_field(&shape->fields[i], from, to);
	return r;
}

int cfs_rpc_pack(const struct cfs_rpc_shape *shape, const void *from,
		 struct cfs_buf *to, struct cfs_err *err)
{
	const size_t before = to->bytes;
	int r = pack_fields(shape, from, to);

	if (r == 0)
		return 0;
	to->bytes = before;
	if (r == -EMSGSIZE)
		return cfs_err_set(err, r, "too much for one request");
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

/* ---- unpacking ----------------------------------------------------------- */

static const uint8_t widths[] = {
	[CFS_RPC_BOOL] = 1,
	[CFS_RPC_U16] = 2,
	[CFS_RPC_U32] = 4,
	[CFS_RPC_U64] = 8,
};

struct reader {
	const uint8_t *at, *end;
	struct cfs_rpc_arena *arena;
	unsigned int depth;
};

static size_t left(const struct reader *rd)
{
	return (size_t)(rd->end - rd->at);
}

static int get_u32(struct reader *rd, uint32_t *ret)
{
	if (left(rd) < 4)
		return -EPROTO;
	*ret = (uint32_t)rd->at[0] | (uint32_t)rd->at[1] << 8 |
	       (uint32_t)rd->at[2] << 16 | (uint32_t)rd->at[3] << 24;
	rd->at += 4;
	return 0;
}

static int get_bytes(struct reader *rd, const uint8_t **ret, size_t *ret_bytes)
{
	uint32_t bytes;
	int r = get_u32(rd, &bytes);

	if (r < 0 || bytes > left(rd))
		return -EPROTO;
	*ret = rd->at;
	*ret_bytes = bytes;
	rd->at += bytes;
	return 0;
}

/* Text leads into the message: its NUL is there. */
static int get_text(struct reader *rd, const char **ret)
{
	const uint8_t *p;
	size_t bytes;
	int r = get_bytes(rd, &p, &bytes);

	if (r < 0)
		return r;
	*ret = NULL;
	if (!bytes)
		return 0;
	if (memchr(p, '\0', bytes) != p + bytes - 1)
		return -EPROTO;
	*ret = (const char *)p;
	return 0;
}

static int get_string(struct reader *rd, const struct cfs_rpc_field *f,
		      uint8_t *at)
{
	const char *text;
	int r = get_text(rd, &text);

	if (r < 0)
		return r;
	if (!text && f->kind != CFS_RPC_OPTIONAL)
		return -EPROTO;
	if (f->kind == CFS_RPC_TEXT) {
		size_t bytes = strlen(text) + 1;

		if (bytes > f->bytes)
			return -EPROTO;
		memcpy(at, text, bytes);
		return 0;
	}
	if (f->kind == CFS_RPC_WORD)
		text = cfs_rpc_word(text);
	memcpy(at, &text, sizeof(text));
	return 0;
}

static int get_number(struct reader *rd, const struct cfs_rpc_field *f,
		      uint8_t *at)
{
	const size_t width = widths[f->kind];
	uint64_t v = 0;
	uint32_t v32;
	uint16_t v16;

	if (left(rd) < width)
		return -EPROTO;
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)rd->at[i] << 8 * i;
	rd->at += width;
	switch (f->kind) {
	case CFS_RPC_BOOL:
		if (v > 1)
			return -EPROTO;
		*(bool *)at = v == 1;
		break;
	case CFS_RPC_U16:
		v16 = (uint16_t)v;
		memcpy(at, &v16, sizeof(v16));
		break;
	case CFS_RPC_U32:
		v32 = (uint32_t)v;
		memcpy(at, &v32, sizeof(v32));
		break;
	default:
		memcpy(at, &v, sizeof(v));
	}
	return 0;
}

static int unpack_fields(struct reader *rd, const struct cfs_rpc_shape *shape,
			 uint8_t *to);

/* What a struct takes on the wire at least. */
static size_t least_bytes(const struct cfs_rpc_shape *shape)
{
	size_t bytes = 0;

	for (size_t i = 0; i < shape->count; i++) {
		const struct cfs_rpc_field *f = &shape->fields[i];

		if (f->kind == CFS_RPC_INLINE)
			bytes += least_bytes(f->shape);
		else if (f->kind == CFS_RPC_ARRAY)
			bytes += f->bytes;
		else
			bytes += f->kind <= CFS_RPC_U64 ? widths[f->kind] : 4;
	}
	return bytes;
}

/* The count is bounded by what is there, before memory is had for it. */
static int get_list(struct reader *rd, const struct cfs_rpc_field *f,
		    uint8_t *to)
{
	const struct cfs_rpc_shape *shape = f->shape;
	uint8_t *list = NULL;
	uint32_t count;
	size_t n;
	int r = get_u32(rd, &count);

	if (r < 0 || count > left(rd) / CFS_MAX(least_bytes(shape), 1U))
		return -EPROTO;
	if (count > 0) {
		list = arena_get(rd->arena, count, shape->bytes);
		if (!list)
			return -ENOMEM;
	}
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = unpack_fields(rd, shape, list + i * shape->bytes);
	n = count;
	memcpy(to + f->offset, &list, sizeof(list));
	memcpy(to + f->count_offset, &n, sizeof(n));
	return r;
}

static int get_blob(struct reader *rd, const struct cfs_rpc_field *f,
		    uint8_t *to)
{
	const uint8_t *p;
	size_t bytes;
	int r = get_bytes(rd, &p, &bytes);

	if (r < 0)
		return r;
	memcpy(to + f->offset, &p, sizeof(p));
	memcpy(to + f->count_offset, &bytes, sizeof(bytes));
	return 0;
}

static int unpack_field(struct reader *rd, const struct cfs_rpc_field *f,
			uint8_t *to)
{
	uint8_t *at = to + f->offset;

	switch (f->kind) {
	case CFS_RPC_ARRAY:
		if (left(rd) < f->bytes)
			return -EPROTO;
		memcpy(at, rd->at, f->bytes);
		rd->at += f->bytes;
		return 0;
	case CFS_RPC_TEXT:
	case CFS_RPC_STRING:
	case CFS_RPC_OPTIONAL:
	case CFS_RPC_WORD:
		return get_string(rd, f, at);
	case CFS_RPC_BLOB:
		return get_blob(rd, f, to);
	case CFS_RPC_LIST:
		return get_list(rd, f, to);
	case CFS_RPC_INLINE:
		return unpack_fields(rd, f->shape, at);
	default:
		return get_number(rd, f, at);
	}
}

static int unpack_fields(struct reader *rd, const struct cfs_rpc_shape *shape,
			 uint8_t *to)
{
	int r = 0;

	if (++rd->depth > DEPTH_MAX)
		return -EPROTO;
	for (size_t i = 0; r == 0 && i < shape->count; i++)
		r = unpack_field(rd, &shape->fields[i], to);
	rd->depth--;
	return r;
}

int cfs_rpc_unpack(const struct cfs_rpc_shape *shape, const uint8_t *from,
		   size_t bytes, void *to, struct cfs_rpc_arena *arena,
		   struct cfs_err *err)
{
	struct reader rd = { .at = from, .end = from + bytes, .arena = arena };
	int r;

	memset(to, 0, shape->bytes);
	r = unpack_fields(&rd, shape, to);
	if (r == 0 && rd.at != rd.end)
		r = -EPROTO;
	if (r == -ENOMEM)
		return cfs_err_set(err, r, "out of memory");
	if (r < 0)
		return cfs_err_set(err, r, "a message that makes no sense");
	return 0;
}
