/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The requests of a session that travel to the process that holds the pool:
 * message types 0x0100 to 0x01ff, on a connection that has said HELLO.
 *
 * Each row of the table below says what a request takes, what it gives back,
 * and what it streams meanwhile.  The same row packs at the client and unpacks
 * at the manager.  A type that has no row is -ENOTSUP: the manager is older.
 *
 * The answer is a stream of records, cut into messages anywhere: le32 length
 * of what follows, a byte enum cfs_rpc_record, and
 *
 *   ITEM      one call of the caller's function, as the row's item says
 *   PROGRESS  le64 done, le64 total
 *   WARN      a line
 *   DATA      bytes that were read, in order
 *   END       le32 the code (0 or a positive errno), text, and the row's
 *             result, which is there also on failure
 *
 * Requests that are longer than a message (a file with its first megabyte)
 * are put together at the manager first, by STAGE.  CANCEL stops a request
 * that was given a token: it answers then as one that a signal stopped.  What
 * is used behind UNDER is used under that lease.
 */
#pragma once

#include "session/rpc_codec.h"
#include "session/session.h"
#include "volume/fs.h"

#define CFS_RPC_TYPE_FIRST       0x0100u
#define CFS_RPC_TYPE_LAST        0x01ffu

/* Bytes of a LUN or a file in one message. */
#define CFS_RPC_DATA_BYTES_MAX   (60u * 1024)
/* Of a request that is put together: a megabyte of data, and attributes. */
#define CFS_RPC_STAGE_BYTES_MAX  (UINT32_C(8) << 20)
/* Of a record of an answer. */
#define CFS_RPC_RECORD_BYTES_MAX (UINT32_C(8) << 20)
/* HOLD: how long commits wait for a dry run. */
#define CFS_RPC_HOLD_SECONDS     30u
/* Read in one request. */
#define CFS_RPC_READ_BYTES_MAX   (UINT32_C(4) << 20)

enum cfs_rpc_type {
	CFS_RPC_STAGE = 0x0101,
	CFS_RPC_CANCEL,
	CFS_RPC_UNDER,

	CFS_RPC_POOL_INFO = 0x0110,
	CFS_RPC_DEVICES,
	CFS_RPC_SET,
	CFS_RPC_ADD_DEVICE,
	CFS_RPC_RESIZE_DEVICE,
	CFS_RPC_TRIM,
	CFS_RPC_SLICES,
	CFS_RPC_EVACUATE,
	CFS_RPC_REMOVE_DEVICE,
	CFS_RPC_REPLACE_DEVICE,
	CFS_RPC_MAKE_MIRROR,

	CFS_RPC_VOLUMES = 0x0120,
	CFS_RPC_VOLUME,
	CFS_RPC_CREATE,
	CFS_RPC_FINISH_VOLUME,
	CFS_RPC_REMOVE_VOLUME,
	CFS_RPC_RENAME_VOLUME,
	CFS_RPC_RESIZE_VOLUME,
	CFS_RPC_PLACE_FIND,
	CFS_RPC_PLACE_NAME,
	CFS_RPC_VOLUMES_BRIEF,
	CFS_RPC_VOLUME_BRIEF,

	CFS_RPC_SNAPSHOTS = 0x0130,
	CFS_RPC_SNAPSHOT,
	CFS_RPC_SNAP_TAKE,
	CFS_RPC_SNAP_CLONE,
	CFS_RPC_SNAP_ROLLBACK,
	CFS_RPC_SNAP_REMOVE,
	CFS_RPC_SNAP_RENAME,
	CFS_RPC_SNAP_HOLD,
	CFS_RPC_SEND,
	CFS_RPC_RECV,
	CFS_RPC_RECV_TOKEN,
	CFS_RPC_DIFF,
	CFS_RPC_PROMOTE,
	CFS_RPC_PROMOTE_END,
	CFS_RPC_PROMOTE_UNDO,
	CFS_RPC_SNAP_REMOVE_MANY,

	CFS_RPC_CHECK = 0x0140,
	CFS_RPC_SCRUB,
	CFS_RPC_TRACE_AT,
	CFS_RPC_TRACE_BAD,
	CFS_RPC_HOLD,
	CFS_RPC_SNAPSHOT_BRIEF,

	CFS_RPC_IO_OPEN = 0x0150,
	CFS_RPC_IO_CLOSE,
	CFS_RPC_IO_READ,
	CFS_RPC_IO_WRITE,
	CFS_RPC_IO_DISCARD,
	CFS_RPC_IO_SEEK,
	CFS_RPC_IO_SYNC,

	CFS_RPC_FS_OPEN_INO = 0x0160,
	CFS_RPC_FS_CLOSE_INO,
	CFS_RPC_FS_SYNC,
	CFS_RPC_FS_STATFS,
	CFS_RPC_FS_GETATTR,
	CFS_RPC_FS_BLOCK_COUNT,
	CFS_RPC_FS_SETATTR,
	CFS_RPC_FS_LOOKUP,
	CFS_RPC_FS_RESOLVE,
	CFS_RPC_FS_PATH_OF,
	CFS_RPC_FS_CREATE,
	CFS_RPC_FS_CREATE_NAMELESS,
	CFS_RPC_FS_NAME,
	CFS_RPC_FS_LINK,
	CFS_RPC_FS_REMOVE,
	CFS_RPC_FS_RENAME,
	CFS_RPC_FS_READDIR,
	CFS_RPC_FS_READLINK,
	CFS_RPC_FS_XATTR_GET,
	CFS_RPC_FS_XATTR_SET,
	CFS_RPC_FS_XATTR_LIST,
	CFS_RPC_FS_XATTR_REMOVE,
	CFS_RPC_FS_READ,
	CFS_RPC_FS_WRITE,
	CFS_RPC_FS_TRUNCATE,
	CFS_RPC_FS_PUNCH_HOLE,
	CFS_RPC_FS_ZERO_RANGE,
	CFS_RPC_FS_SEEK,

	CFS_RPC_TYPE_END
};

enum cfs_rpc_record {
	CFS_RPC_ITEM = 1,
	CFS_RPC_PROGRESS,
	CFS_RPC_WARN,
	CFS_RPC_DATA,
	CFS_RPC_END,
};
/* In front of each record. */
#define CFS_RPC_RECORD_HEAD_BYTES 5u

/*
 * All that any request takes; the row says which of these travel.  What does
 * not is zero at the manager.
 */
struct cfs_rpc_args {
	const char *volume; /* or container */
	const char *snap;
	const char *name; /* new, or of a clone, key, path, ... */
	const char *text; /* value, note, save */
	uint64_t token;   /* for CANCEL; 0: none */
	uint64_t handle;  /* of an open volume, on this
			   * connection */
	uint64_t ino, dir_ino, to_dir_ino;
	uint64_t offset_bytes, length_bytes;
	uint64_t size_bytes, limit_bytes;
	uint64_t wait_ms;     /* for a lease that somebody else has */
	uint64_t patience_ns; /* for those on bytes and files; 0: no
			       * limit */
	uint32_t kind, flags;
	bool is_set;
	const void *entry; /* name of an entry, or a path */
	size_t entry_bytes;
	const void *to_entry;
	size_t to_entry_bytes;
	const void *data;
	size_t data_bytes;
	const struct cfs_snap_name *snaps;
	size_t snap_count;
	struct cfs_fs_spec spec;
	struct cfs_fs_attr attr;
	struct cfs_scrub_options scrub;
	struct cfs_volume_place place;
};

/* Small results. */
struct cfs_rpc_values {
	uint64_t value, other;
};
struct cfs_rpc_inode {
	uint64_t ino;
	struct cfs_inode inode;
};
struct cfs_rpc_bytes {
	const void *data; /* the manager's: malloc */
	size_t data_bytes;
	uint64_t full_bytes; /* as the call says, or of all */
};
struct cfs_rpc_token {
	char text[160]; /* CFS_STREAM_TOKEN_BYTES */
};
struct cfs_rpc_entries {
	const struct cfs_fs_entry *entries;
	size_t count;
};
struct cfs_rpc_opened {
	uint64_t handle;
	uint32_t kind;
	uint64_t size_bytes;
	uint64_t root_ino; /* tree */
	bool is_writable;  /* tree: no snapshot */
};

union cfs_rpc_ret {
	struct cfs_rpc_values values;
	struct cfs_inode attr;
	struct cfs_rpc_inode inode;
	struct cfs_rpc_bytes bytes;
	struct cfs_rpc_token token;
	struct cfs_rpc_entries entries;
	struct cfs_rpc_opened opened;
	struct cfs_pool_info pool;
	struct cfs_volume_info volume;
	struct cfs_volume_place place;
	struct cfs_place_name place_name;
	struct cfs_snapshot_info snapshot;
	struct cfs_trim_result trim;
	struct cfs_move_result move;
	struct cfs_check_result check;
	struct cfs_scrub_result scrub;
	struct cfs_fs_space space;
};

#define CFS_RPC_CHANGES         0x1u /* what a cut connection leaves is not known */
#define CFS_RPC_ALONE           0x2u /* structure: nothing else runs meanwhile */
#define CFS_RPC_LONG            0x4u /* has a token; may take hours */
#define CFS_RPC_FREE            0x8u /* with LONG: sees to the structure by itself */
#define CFS_RPC_AGAIN           0x10u /* may be asked again, of another owner */

/* Flags of requests that move slices. */
#define CFS_RPC_MOVE_FORCED     0x1u
#define CFS_RPC_MOVE_BACKGROUND 0x2u

struct cfs_rpc_row {
	uint16_t type;
	uint16_t flags;
	const char *name;                 /* for messages */
	const struct cfs_rpc_shape *args; /* of struct cfs_rpc_args */
	const struct cfs_rpc_shape *ret;  /* NULL: nothing */
	const struct cfs_rpc_shape *item; /* NULL: no items */
};

/* NULL: no such request. */
const struct cfs_rpc_row *cfs_rpc_row(uint16_t type);
size_t cfs_rpc_row_count(void);
const struct cfs_rpc_row *cfs_rpc_row_at(size_t index);

/* ---- records ------------------------------------------------------------- */

struct cfs_rpc_end {
	uint32_t code; /* 0 or a positive errno */
	const char *text;
	const void *result;
	size_t result_bytes;
};
struct cfs_rpc_progress {
	uint64_t done, total;
};
struct cfs_rpc_line {
	const char *line;
};
extern const struct cfs_rpc_shape cfs_rpc_end_shape, cfs_rpc_progress_shape,
	cfs_rpc_line_shape;

/* Append one record.  0, -ENOMEM; -EMSGSIZE: too long for one. */
int cfs_rpc_record_put(struct cfs_buf *to, enum cfs_rpc_record kind,
		       const struct cfs_rpc_shape *shape, const void *from,
		       struct cfs_err *err);

struct cfs_rpc_stream {
	struct cfs_buf in;
	size_t used; /* of its front */
};
/*
 * The next whole record of what has come.  1: @ret_kind and what is behind it,
 * valid until the stream changes; 0: more must come; -EPROTO.
 */
int cfs_rpc_record_next(struct cfs_rpc_stream *s, enum cfs_rpc_record *ret_kind,
			const uint8_t **ret, size_t *ret_bytes,
			struct cfs_err *err);
