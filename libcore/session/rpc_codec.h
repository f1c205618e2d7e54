/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How requests become bytes: a struct is described once, by a table of its
 * fields, and both sides work from that table, so nothing is written twice
 * and the two cannot disagree.
 *
 * On the wire, little-endian, fields in the order of the table, nothing
 * between them: bool one byte (0 or 1), integers in their own width, byte
 * arrays as they are, text as le32 length + 1 (0: NULL), the bytes and a NUL,
 * bytes as le32 length and the bytes, lists as le32 count and the items.
 *
 * What is unpacked is not trusted: lengths are checked against what is there
 * before anything is allocated, text holds no NUL but its last, and all of the
 * message must be used up.  Pointers lead into the message or into the arena;
 * both must outlive the struct.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cfs_rpc_kind {
	CFS_RPC_BOOL,
	CFS_RPC_U16,
	CFS_RPC_U32,
	CFS_RPC_U64,
	CFS_RPC_ARRAY,    /* uint8_t[], as it is */
	CFS_RPC_TEXT,     /* char[] with a NUL */
	CFS_RPC_STRING,   /* const char *, never NULL */
	CFS_RPC_OPTIONAL, /* const char *, or NULL */
	CFS_RPC_WORD,     /* const char * that lives for ever */
	CFS_RPC_BLOB,     /* const void * and a size_t */
	CFS_RPC_LIST,     /* const T * and a size_t */
	CFS_RPC_INLINE,   /* a struct within */
};

struct cfs_rpc_shape;

struct cfs_rpc_field {
	uint8_t kind; /* enum cfs_rpc_kind */
	uint32_t offset;
	uint32_t bytes;
	uint32_t count_offset;             /* BLOB, LIST: of the size_t */
	const struct cfs_rpc_shape *shape; /* LIST, INLINE */
};

struct cfs_rpc_shape {
	size_t bytes; /* of the struct */
	const struct cfs_rpc_field *fields;
	size_t count;
};

/* The kind follows from the member's type; enums are 32 bits. */
#define CFS_RPC_KIND_OF(member)                                                \
	_Generic((member),			\
	bool: CFS_RPC_BOOL, uint16_t: CFS_RPC_U16,			\
	int32_t: CFS_RPC_U32, uint32_t: CFS_RPC_U32,			\
	int64_t: CFS_RPC_U64, uint64_t: CFS_RPC_U64,			\
	uint8_t *: CFS_RPC_ARRAY, char *: CFS_RPC_TEXT,			\
	const char *: CFS_RPC_STRING)

#define CFS_RPC_FIELD_AS(k, type, member)                                      \
	{                                                                      \
		.kind = (k), .offset = offsetof(type, member),                 \
		.bytes = sizeof(((type *)0)->member)                           \
	}
#define CFS_RPC_F(type, member)                                                \
	CFS_RPC_FIELD_AS(CFS_RPC_KIND_OF(((type *)0)->member), type, member)
#define CFS_RPC_OPT(type, member)                                              \
	CFS_RPC_FIELD_AS(CFS_RPC_OPTIONAL, type, member)
#define CFS_RPC_W(type, member) CFS_RPC_FIELD_AS(CFS_RPC_WORD, type, member)
#define CFS_RPC_B(type, member, length)                                        \
	{                                                                      \
		.kind = CFS_RPC_BLOB, .offset = offsetof(type, member),        \
		.count_offset = offsetof(type, length)                         \
	}
#define CFS_RPC_L(type, member, length, of)                                    \
	{                                                                      \
		.kind = CFS_RPC_LIST, .offset = offsetof(type, member),        \
		.count_offset = offsetof(type, length), .shape = &(of)         \
	}
#define CFS_RPC_I(type, member, of)                                            \
	{                                                                      \
		.kind = CFS_RPC_INLINE, .offset = offsetof(type, member),      \
		.shape = &(of)                                                 \
	}

#define CFS_RPC_SHAPE(name, type, ...)                                         \
	static const struct cfs_rpc_field name##_fields[] = { __VA_ARGS__ };   \
	static const struct cfs_rpc_shape name = {                             \
		.bytes = sizeof(type),                                         \
		.fields = name##_fields,                                       \
		.count = sizeof(name##_fields) / sizeof(*name##_fields),       \
	}

/* What lists and optional texts of a message need besides it. */
struct cfs_rpc_arena {
	void *first;
};
void cfs_rpc_arena_donep(struct cfs_rpc_arena *arena);
/* NULL: no memory. */
uint8_t *cfs_rpc_arena_copy(struct cfs_rpc_arena *arena, const void *from,
			    size_t bytes);

/* Append @from, as @shape says.  0 or -ENOMEM. */
int cfs_rpc_pack(const struct cfs_rpc_shape *shape, const void *from,
		 struct cfs_buf *to, struct cfs_err *err);
/*
 * The reverse.  @to: shape->bytes, cleared by this.
 * -EPROTO: it is cut, too long, or a value that cannot be; -ENOMEM.
 */
int cfs_rpc_unpack(const struct cfs_rpc_shape *shape, const uint8_t *from,
		   size_t bytes, void *to, struct cfs_rpc_arena *arena,
		   struct cfs_err *err);

/*
 * The same word as one that lives as long as the process.  Few are kept, and
 * short ones; of too many, or of a long one, "other" is what comes back.
 */
const char *cfs_rpc_word(const char *word);
