/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What travels with each request: see rpc.h. */
#include "session/rpc.h"

#include "session/stream.h"

/* ---- structs of session.h and its neighbours ----------------------------- */

#define T struct cfs_pool_info
CFS_RPC_SHAPE(pool_info, T, CFS_RPC_F(T, name), CFS_RPC_F(T, uuid),
	      CFS_RPC_F(T, state), CFS_RPC_F(T, is_mirror),
	      CFS_RPC_F(T, is_shared), CFS_RPC_F(T, device_count),
	      CFS_RPC_F(T, devices_present), CFS_RPC_F(T, created_ns),
	      CFS_RPC_F(T, slice_bytes), CFS_RPC_F(T, size_bytes),
	      CFS_RPC_F(T, slices), CFS_RPC_F(T, free_slices),
	      CFS_RPC_F(T, lent_slices), CFS_RPC_F(T, frozen_slices),
	      CFS_RPC_F(T, bad_slices), CFS_RPC_F(T, capacity_bytes),
	      CFS_RPC_F(T, used_bytes), CFS_RPC_F(T, free_bytes),
	      CFS_RPC_F(T, damaged_blocks), CFS_RPC_F(T, container_count),
	      CFS_RPC_F(T, epoch), CFS_RPC_F(T, lease_period_ns),
	      CFS_RPC_F(T, clock_drift_ppm), CFS_RPC_F(T, cache_bytes),
	      CFS_RPC_F(T, is_checked), CFS_RPC_F(T, takeovers_left));
#undef T

#define T struct cfs_device_info
CFS_RPC_SHAPE(device_info, T, CFS_RPC_F(T, index), CFS_RPC_F(T, uuid),
	      CFS_RPC_F(T, path), CFS_RPC_W(T, kind), CFS_RPC_W(T, state),
	      CFS_RPC_F(T, size_bytes), CFS_RPC_F(T, slice_count),
	      CFS_RPC_F(T, used_slices), CFS_RPC_F(T, free_slices),
	      CFS_RPC_F(T, frozen_slices), CFS_RPC_F(T, bad_slices),
	      CFS_RPC_F(T, is_moving), CFS_RPC_F(T, moved_slices),
	      CFS_RPC_F(T, move_slices));
#undef T

#define T struct cfs_move_result
CFS_RPC_SHAPE(move_result, T, CFS_RPC_F(T, need_slices),
	      CFS_RPC_F(T, need_bytes), CFS_RPC_F(T, free_slices),
	      CFS_RPC_F(T, moved_slices), CFS_RPC_F(T, moved_bytes),
	      CFS_RPC_F(T, left_slices), CFS_RPC_F(T, damaged_blocks));
#undef T

#define T struct cfs_slice_info
CFS_RPC_SHAPE(slice_info, T, CFS_RPC_F(T, device_index),
	      CFS_RPC_F(T, slice_index), CFS_RPC_W(T, use),
	      CFS_RPC_F(T, container), CFS_RPC_F(T, container_id),
	      CFS_RPC_F(T, lslice), CFS_RPC_F(T, piece),
	      CFS_RPC_F(T, generation), CFS_RPC_F(T, used_blocks),
	      CFS_RPC_F(T, block_count));
#undef T

#define T struct cfs_volume_info
CFS_RPC_SHAPE(volume_info, T, CFS_RPC_F(T, name), CFS_RPC_F(T, kind),
	      CFS_RPC_F(T, container_uuid), CFS_RPC_F(T, container_id),
	      CFS_RPC_F(T, volume_id), CFS_RPC_F(T, size_bytes),
	      CFS_RPC_F(T, used_bytes), CFS_RPC_F(T, shared_bytes),
	      CFS_RPC_F(T, limit_bytes), CFS_RPC_F(T, provision_bytes),
	      CFS_RPC_F(T, created_ns), CFS_RPC_F(T, snapshot_count),
	      CFS_RPC_F(T, clone_count), CFS_RPC_F(T, origin),
	      CFS_RPC_F(T, container_used_bytes), CFS_RPC_F(T, slice_count),
	      CFS_RPC_F(T, damaged_blocks), CFS_RPC_F(T, inode_count),
	      CFS_RPC_F(T, is_checked), CFS_RPC_W(T, state));
#undef T

#define T struct cfs_volume_place
CFS_RPC_SHAPE(volume_place, T, CFS_RPC_F(T, container), CFS_RPC_F(T, volume),
	      CFS_RPC_F(T, ino), CFS_RPC_F(T, kind));
#undef T

#define T struct cfs_place_name
CFS_RPC_SHAPE(place_name, T, CFS_RPC_F(T, volume), CFS_RPC_F(T, path));
#undef T

#define T struct cfs_snapshot_info
CFS_RPC_SHAPE(snapshot_info, T, CFS_RPC_F(T, volume), CFS_RPC_F(T, name),
	      CFS_RPC_F(T, stamp), CFS_RPC_F(T, created_ns), CFS_RPC_F(T, note),
	      CFS_RPC_F(T, size_bytes), CFS_RPC_F(T, exclusive_bytes),
	      CFS_RPC_F(T, shared_bytes), CFS_RPC_F(T, is_held),
	      CFS_RPC_F(T, clone_count), CFS_RPC_F(T, branch_of));
#undef T

#define T struct cfs_trim_result
CFS_RPC_SHAPE(trim_result, T, CFS_RPC_F(T, returned_slices),
	      CFS_RPC_F(T, discarded_bytes));
#undef T

#define T struct cfs_problem
CFS_RPC_SHAPE(problem, T, CFS_RPC_W(T, kind), CFS_RPC_F(T, container),
	      CFS_RPC_F(T, volume), CFS_RPC_F(T, path), CFS_RPC_F(T, text),
	      CFS_RPC_F(T, is_healed));
#undef T

#define T struct cfs_check_result
CFS_RPC_SHAPE(check_result, T, CFS_RPC_F(T, containers), CFS_RPC_F(T, nodes),
	      CFS_RPC_F(T, records), CFS_RPC_F(T, blocks), CFS_RPC_F(T, inodes),
	      CFS_RPC_F(T, problems));
#undef T

#define T struct cfs_scrub_options
CFS_RPC_SHAPE(scrub_options, T, CFS_RPC_F(T, rate_bytes), CFS_RPC_F(T, heals),
	      CFS_RPC_F(T, is_full), CFS_RPC_F(T, continues));
#undef T

#define T struct cfs_scrub_result
CFS_RPC_SHAPE(scrub_result, T, CFS_RPC_F(T, read_bytes),
	      CFS_RPC_F(T, verified_blocks), CFS_RPC_F(T, bad_blocks),
	      CFS_RPC_F(T, healed_blocks), CFS_RPC_F(T, left_blocks),
	      CFS_RPC_F(T, skipped_groups), CFS_RPC_F(T, started_ns),
	      CFS_RPC_F(T, ended_ns));
#undef T

struct seen_by {
	char name[128];
};
CFS_RPC_SHAPE(seen_by, struct seen_by, CFS_RPC_F(struct seen_by, name));

#define T struct cfs_damage
CFS_RPC_SHAPE(damage, T, CFS_RPC_W(T, kind), CFS_RPC_W(T, cause),
	      CFS_RPC_F(T, device), CFS_RPC_F(T, device_index),
	      CFS_RPC_F(T, device_offset_bytes), CFS_RPC_F(T, container),
	      CFS_RPC_F(T, volume), CFS_RPC_F(T, path), CFS_RPC_F(T, has_path),
	      CFS_RPC_F(T, offset_bytes), CFS_RPC_F(T, length_bytes),
	      CFS_RPC_L(T, snapshots, snapshot_count, seen_by),
	      CFS_RPC_F(T, is_healed));
#undef T

#define T struct cfs_snap_name
CFS_RPC_SHAPE(snap_name, T, CFS_RPC_F(T, volume), CFS_RPC_F(T, snap));
#undef T

/* ---- of trees ------------------------------------------------------------ */

#define T struct cfs_inode
CFS_RPC_SHAPE(inode, T, CFS_RPC_F(T, mode), CFS_RPC_F(T, uid),
	      CFS_RPC_F(T, gid), CFS_RPC_F(T, nlink), CFS_RPC_F(T, size_bytes),
	      CFS_RPC_F(T, rdev), CFS_RPC_F(T, atime_ns),
	      CFS_RPC_F(T, mtime_ns), CFS_RPC_F(T, ctime_ns),
	      CFS_RPC_F(T, btime_ns), CFS_RPC_F(T, parent),
	      CFS_RPC_F(T, change), CFS_RPC_F(T, flags),
	      CFS_RPC_F(T, entry_count));
#undef T

#define T struct cfs_rpc_inode
CFS_RPC_SHAPE(ret_inode, T, CFS_RPC_F(T, ino), CFS_RPC_I(T, inode, inode));
#undef T

#define T struct cfs_fs_xattr
CFS_RPC_SHAPE(xattr, T, CFS_RPC_F(T, name), CFS_RPC_B(T, value, value_bytes));
#undef T

#define T struct cfs_fs_spec
CFS_RPC_SHAPE(spec, T, CFS_RPC_F(T, mode), CFS_RPC_F(T, uid), CFS_RPC_F(T, gid),
	      CFS_RPC_F(T, rdev), CFS_RPC_F(T, has_times),
	      CFS_RPC_F(T, atime_ns), CFS_RPC_F(T, mtime_ns),
	      CFS_RPC_B(T, target, target_bytes),
	      CFS_RPC_B(T, data, data_bytes),
	      CFS_RPC_L(T, xattrs, xattr_count, xattr));
#undef T

#define T struct cfs_fs_attr
CFS_RPC_SHAPE(attr, T, CFS_RPC_F(T, mask), CFS_RPC_F(T, mode),
	      CFS_RPC_F(T, uid), CFS_RPC_F(T, gid), CFS_RPC_F(T, atime_ns),
	      CFS_RPC_F(T, mtime_ns), CFS_RPC_F(T, ctime_ns),
	      CFS_RPC_F(T, btime_ns));
#undef T

#define T struct cfs_fs_entry
CFS_RPC_SHAPE(entry, T, CFS_RPC_F(T, ino), CFS_RPC_F(T, next_cookie),
	      CFS_RPC_F(T, type), CFS_RPC_F(T, name_bytes), CFS_RPC_F(T, name));
#undef T

#define T struct cfs_rpc_entries
CFS_RPC_SHAPE(ret_entries, T, CFS_RPC_L(T, entries, count, entry));
#undef T

#define T struct cfs_fs_space
CFS_RPC_SHAPE(ret_space, T, CFS_RPC_F(T, total_bytes), CFS_RPC_F(T, free_bytes),
	      CFS_RPC_F(T, inode_count));
#undef T

/* ---- small results ------------------------------------------------------- */

#define T struct cfs_rpc_values
CFS_RPC_SHAPE(ret_values, T, CFS_RPC_F(T, value), CFS_RPC_F(T, other));
#undef T
#define T struct cfs_rpc_bytes
CFS_RPC_SHAPE(ret_bytes, T, CFS_RPC_B(T, data, data_bytes),
	      CFS_RPC_F(T, full_bytes));
#undef T
#define T struct cfs_rpc_token
CFS_RPC_SHAPE(ret_token, T, CFS_RPC_F(T, text));
#undef T
#define T struct cfs_diff_item
CFS_RPC_SHAPE(diff_item, T, CFS_RPC_OPT(T, change), CFS_RPC_OPT(T, path),
	      CFS_RPC_OPT(T, old_path), CFS_RPC_F(T, offset_bytes),
	      CFS_RPC_F(T, length_bytes));
#undef T
#define T struct cfs_rpc_opened
CFS_RPC_SHAPE(ret_opened, T, CFS_RPC_F(T, handle), CFS_RPC_F(T, kind),
	      CFS_RPC_F(T, size_bytes), CFS_RPC_F(T, root_ino),
	      CFS_RPC_F(T, is_writable));
#undef T

/* ---- arguments ----------------------------------------------------------- */

#define A         struct cfs_rpc_args
#define F(member) CFS_RPC_F(A, member)
#define O(member) CFS_RPC_OPT(A, member)
#define ENTRY     CFS_RPC_B(A, entry, entry_bytes)
#define DATA      CFS_RPC_B(A, data, data_bytes)

static const struct cfs_rpc_shape a_none = { .bytes = sizeof(A) };
CFS_RPC_SHAPE(a_stage, A, F(token), F(size_bytes), F(offset_bytes), DATA);
CFS_RPC_SHAPE(a_token, A, F(token));
CFS_RPC_SHAPE(a_text, A, F(text));
CFS_RPC_SHAPE(a_set, A, O(volume), F(name), F(text));
CFS_RPC_SHAPE(a_add_device, A, F(name), F(is_set));
CFS_RPC_SHAPE(a_name, A, F(name));
CFS_RPC_SHAPE(a_evacuate, A, F(token), F(name), F(flags));
CFS_RPC_SHAPE(a_replace, A, F(token), F(name), F(text), F(flags));
CFS_RPC_SHAPE(a_maybe_volume, A, O(volume));
CFS_RPC_SHAPE(a_volume, A, F(volume));
CFS_RPC_SHAPE(a_create, A, F(name), F(kind), F(size_bytes), F(limit_bytes),
	      F(is_set));
CFS_RPC_SHAPE(a_volume_set, A, F(volume), F(is_set));
CFS_RPC_SHAPE(a_volume_name, A, F(volume), F(name));
CFS_RPC_SHAPE(a_volume_size, A, F(volume), F(size_bytes));
CFS_RPC_SHAPE(a_place_find, A, F(volume), O(text));
CFS_RPC_SHAPE(a_place_name, A, CFS_RPC_I(A, place, volume_place));
CFS_RPC_SHAPE(a_snapshots, A, O(volume), F(is_set));
CFS_RPC_SHAPE(a_snap, A, F(volume), F(snap));
CFS_RPC_SHAPE(a_snap_take, A, CFS_RPC_L(A, snaps, snap_count, snap_name),
	      O(text));
CFS_RPC_SHAPE(a_snap_name, A, F(volume), F(snap), F(name));
CFS_RPC_SHAPE(a_snap_text, A, F(volume), F(snap), O(text));
CFS_RPC_SHAPE(a_snap_set, A, F(volume), F(snap), F(is_set));
CFS_RPC_SHAPE(a_send, A, F(token), F(volume), F(snap), O(name), O(text));
CFS_RPC_SHAPE(a_recv, A, F(volume), F(is_set), DATA);
CFS_RPC_SHAPE(a_diff, A, F(token), F(volume), F(snap), F(name), O(text));
CFS_RPC_SHAPE(a_snap_many, A, F(volume),
	      CFS_RPC_L(A, snaps, snap_count, snap_name));
CFS_RPC_SHAPE(a_promote, A, F(token), F(volume), F(name));
CFS_RPC_SHAPE(a_check, A, F(token), O(volume));
CFS_RPC_SHAPE(a_scrub, A, F(token), O(volume),
	      CFS_RPC_I(A, scrub, scrub_options));
CFS_RPC_SHAPE(a_trace_at, A, F(token), F(name), F(offset_bytes));
CFS_RPC_SHAPE(a_io_open, A, F(volume), O(snap), F(is_set), F(wait_ms),
	      F(patience_ns));
CFS_RPC_SHAPE(a_handle, A, F(handle));
CFS_RPC_SHAPE(a_io_range, A, F(handle), F(offset_bytes), F(length_bytes));
CFS_RPC_SHAPE(a_io_write, A, F(handle), F(offset_bytes), DATA);
CFS_RPC_SHAPE(a_io_seek, A, F(handle), F(offset_bytes), F(is_set));
CFS_RPC_SHAPE(a_ino, A, F(handle), F(ino));
CFS_RPC_SHAPE(a_ino_size, A, F(handle), F(ino), F(size_bytes));
CFS_RPC_SHAPE(a_setattr, A, F(handle), F(ino), CFS_RPC_I(A, attr, attr));
CFS_RPC_SHAPE(a_entry_kind, A, F(handle), F(dir_ino), ENTRY, F(kind));
CFS_RPC_SHAPE(a_entry_set, A, F(handle), F(dir_ino), ENTRY, F(is_set));
CFS_RPC_SHAPE(a_ino_entry, A, F(handle), F(ino), F(dir_ino), ENTRY);
CFS_RPC_SHAPE(a_create_entry, A, F(handle), F(dir_ino), ENTRY,
	      CFS_RPC_I(A, spec, spec));
CFS_RPC_SHAPE(a_nameless, A, F(handle), F(dir_ino), CFS_RPC_I(A, spec, spec));
CFS_RPC_SHAPE(a_rename, A, F(handle), F(dir_ino), ENTRY, F(to_dir_ino),
	      CFS_RPC_B(A, to_entry, to_entry_bytes), F(flags));
CFS_RPC_SHAPE(a_readdir, A, F(handle), F(dir_ino), F(offset_bytes),
	      F(length_bytes));
CFS_RPC_SHAPE(a_ino_length, A, F(handle), F(ino), F(length_bytes));
CFS_RPC_SHAPE(a_xattr_get, A, F(handle), F(ino), F(name), F(length_bytes));
CFS_RPC_SHAPE(a_xattr_set, A, F(handle), F(ino), F(name), DATA, F(flags));
CFS_RPC_SHAPE(a_xattr_name, A, F(handle), F(ino), F(name));
CFS_RPC_SHAPE(a_file_range, A, F(handle), F(ino), F(offset_bytes),
	      F(length_bytes), F(is_set));
CFS_RPC_SHAPE(a_file_write, A, F(handle), F(ino), F(offset_bytes), DATA);

/* ---- the table ----------------------------------------------------------- */

#define CHANGES CFS_RPC_CHANGES
#define ALONE   (CFS_RPC_CHANGES | CFS_RPC_ALONE)
#define LONG    CFS_RPC_LONG
#define AGAIN   CFS_RPC_AGAIN
#define MOVES   (CFS_RPC_CHANGES | CFS_RPC_LONG | CFS_RPC_FREE)

/* By type. */
static const struct cfs_rpc_row rows[] = {
	{ CFS_RPC_STAGE, 0, "stage", &a_stage, NULL, NULL },
	{ CFS_RPC_CANCEL, 0, "cancel", &a_token, NULL, NULL },
	{ CFS_RPC_UNDER, 0, "lease", &a_text, NULL, NULL },

	{ CFS_RPC_POOL_INFO, 0, "pool info", &a_none, &pool_info, NULL },
	{ CFS_RPC_DEVICES, 0, "devices", &a_none, NULL, &device_info },
	{ CFS_RPC_SET, ALONE, "set", &a_set, NULL, NULL },
	{ CFS_RPC_ADD_DEVICE, ALONE, "add", &a_add_device, &ret_values, NULL },
	{ CFS_RPC_RESIZE_DEVICE, ALONE, "resize", &a_name, &ret_values, NULL },
	{ CFS_RPC_TRIM, CHANGES, "trim", &a_maybe_volume, &trim_result, NULL },
	{ CFS_RPC_SLICES, AGAIN, "slices", &a_maybe_volume, NULL, &slice_info },
	{ CFS_RPC_EVACUATE, MOVES, "evacuate", &a_evacuate, &move_result,
	  NULL },
	{ CFS_RPC_REMOVE_DEVICE, MOVES, "remove", &a_evacuate, NULL, NULL },
	{ CFS_RPC_REPLACE_DEVICE, MOVES, "replace", &a_replace, &move_result,
	  NULL },
	{ CFS_RPC_MAKE_MIRROR, MOVES, "mirror", &a_token, &move_result, NULL },

	{ CFS_RPC_VOLUMES, AGAIN, "volumes", &a_maybe_volume, NULL,
	  &volume_info },
	{ CFS_RPC_VOLUME, AGAIN, "volume", &a_volume, &volume_info, NULL },
	{ CFS_RPC_CREATE, ALONE, "create", &a_create, NULL, NULL },
	{ CFS_RPC_FINISH_VOLUME, ALONE, "finish", &a_name, NULL, NULL },
	{ CFS_RPC_REMOVE_VOLUME, ALONE, "remove", &a_volume_set, NULL, NULL },
	{ CFS_RPC_RENAME_VOLUME, ALONE, "rename", &a_volume_name, NULL, NULL },
	{ CFS_RPC_RESIZE_VOLUME, ALONE, "resize", &a_volume_size, NULL, NULL },

	{ CFS_RPC_PLACE_FIND, AGAIN, "place", &a_place_find, &volume_place,
	  NULL },
	{ CFS_RPC_PLACE_NAME, AGAIN, "name", &a_place_name, &place_name, NULL },
	{ CFS_RPC_VOLUMES_BRIEF, AGAIN, "volumes", &a_maybe_volume, NULL,
	  &volume_info },
	{ CFS_RPC_VOLUME_BRIEF, AGAIN, "volume", &a_volume, &volume_info,
	  NULL },

	{ CFS_RPC_SNAPSHOTS, AGAIN, "snapshots", &a_snapshots, NULL,
	  &snapshot_info },
	{ CFS_RPC_SNAPSHOT, AGAIN, "snapshot", &a_snap, &snapshot_info, NULL },
	{ CFS_RPC_SNAP_TAKE, CHANGES, "take", &a_snap_take, NULL, NULL },
	{ CFS_RPC_SNAP_CLONE, CHANGES, "clone", &a_snap_name, NULL, NULL },
	{ CFS_RPC_SNAP_ROLLBACK, ALONE, "rollback", &a_snap_text, NULL, NULL },
	{ CFS_RPC_SNAP_REMOVE, CHANGES, "remove", &a_snap, &ret_values, NULL },
	{ CFS_RPC_SNAP_RENAME, CHANGES, "rename", &a_snap_name, NULL, NULL },
	{ CFS_RPC_SNAP_HOLD, CHANGES, "hold", &a_snap_set, NULL, NULL },
	{ CFS_RPC_SEND, LONG, "send", &a_send, &ret_values, &ret_bytes },
	{ CFS_RPC_RECV, CHANGES, "recv", &a_recv, &ret_opened, NULL },
	{ CFS_RPC_RECV_TOKEN, AGAIN, "recv --token", &a_volume, &ret_token,
	  NULL },
	{ CFS_RPC_DIFF, LONG, "diff", &a_diff, NULL, &diff_item },
	{ CFS_RPC_PROMOTE, CFS_RPC_CHANGES | LONG, "promote", &a_promote,
	  &ret_values, NULL },
	{ CFS_RPC_PROMOTE_END, ALONE, "promote", &a_volume_name, NULL, NULL },
	{ CFS_RPC_PROMOTE_UNDO, ALONE, "promote --undo", &a_volume, NULL,
	  NULL },
	{ CFS_RPC_SNAP_REMOVE_MANY, CHANGES, "remove", &a_snap_many, NULL,
	  &ret_values },

	{ CFS_RPC_CHECK, LONG, "check", &a_check, &check_result, &problem },
	{ CFS_RPC_SCRUB, LONG, "scrub", &a_scrub, &scrub_result, &damage },
	{ CFS_RPC_TRACE_AT, LONG, "trace", &a_trace_at, NULL, &damage },
	{ CFS_RPC_TRACE_BAD, LONG, "trace", &a_token, NULL, &damage },
	{ CFS_RPC_HOLD, 0, "hold", &a_none, NULL, NULL },
	{ CFS_RPC_SNAPSHOT_BRIEF, AGAIN, "snapshot", &a_snap, &snapshot_info,
	  NULL },

	{ CFS_RPC_IO_OPEN, AGAIN, "open", &a_io_open, &ret_opened, NULL },
	{ CFS_RPC_IO_CLOSE, 0, "close", &a_handle, NULL, NULL },
	{ CFS_RPC_IO_READ, 0, "read", &a_io_range, &ret_values, NULL },
	{ CFS_RPC_IO_WRITE, CHANGES, "write", &a_io_write, NULL, NULL },
	{ CFS_RPC_IO_DISCARD, CHANGES, "discard", &a_io_range, NULL, NULL },
	{ CFS_RPC_IO_SEEK, 0, "seek", &a_io_seek, &ret_values, NULL },
	{ CFS_RPC_IO_SYNC, CHANGES, "sync", &a_handle, NULL, NULL },

	{ CFS_RPC_FS_OPEN_INO, 0, "open", &a_ino, NULL, NULL },
	{ CFS_RPC_FS_CLOSE_INO, CHANGES, "close", &a_ino, NULL, NULL },
	{ CFS_RPC_FS_SYNC, CHANGES, "sync", &a_ino, NULL, NULL },
	{ CFS_RPC_FS_STATFS, 0, "statfs", &a_handle, &ret_space, NULL },
	{ CFS_RPC_FS_GETATTR, 0, "getattr", &a_ino, &inode, NULL },
	{ CFS_RPC_FS_BLOCK_COUNT, 0, "blocks", &a_ino, &ret_values, NULL },
	{ CFS_RPC_FS_SETATTR, CHANGES, "setattr", &a_setattr, &inode, NULL },
	{ CFS_RPC_FS_LOOKUP, 0, "lookup", &a_entry_set, &ret_inode, NULL },
	{ CFS_RPC_FS_RESOLVE, 0, "resolve", &a_entry_kind, &ret_values, NULL },
	{ CFS_RPC_FS_PATH_OF, 0, "path", &a_ino, &ret_bytes, NULL },
	{ CFS_RPC_FS_CREATE, CHANGES, "create", &a_create_entry, &ret_inode,
	  NULL },
	{ CFS_RPC_FS_CREATE_NAMELESS, CHANGES, "create", &a_nameless,
	  &ret_values, NULL },
	{ CFS_RPC_FS_NAME, CHANGES, "name", &a_ino_entry, NULL, NULL },
	{ CFS_RPC_FS_LINK, CHANGES, "link", &a_ino_entry, NULL, NULL },
	{ CFS_RPC_FS_REMOVE, CHANGES, "remove", &a_entry_set, NULL, NULL },
	{ CFS_RPC_FS_RENAME, CHANGES, "rename", &a_rename, NULL, NULL },
	{ CFS_RPC_FS_READDIR, 0, "readdir", &a_readdir, &ret_entries, NULL },
	{ CFS_RPC_FS_READLINK, 0, "readlink", &a_ino_length, &ret_bytes, NULL },
	{ CFS_RPC_FS_XATTR_GET, 0, "getxattr", &a_xattr_get, &ret_bytes, NULL },
	{ CFS_RPC_FS_XATTR_SET, CHANGES, "setxattr", &a_xattr_set, NULL, NULL },
	{ CFS_RPC_FS_XATTR_LIST, 0, "listxattr", &a_ino_length, &ret_bytes,
	  NULL },
	{ CFS_RPC_FS_XATTR_REMOVE, CHANGES, "removexattr", &a_xattr_name, NULL,
	  NULL },
	{ CFS_RPC_FS_READ, 0, "read", &a_file_range, &ret_values, NULL },
	{ CFS_RPC_FS_WRITE, CHANGES, "write", &a_file_write, &ret_values,
	  NULL },
	{ CFS_RPC_FS_TRUNCATE, CHANGES, "truncate", &a_ino_size, NULL, NULL },
	{ CFS_RPC_FS_PUNCH_HOLE, CHANGES, "punch", &a_file_range, NULL, NULL },
	{ CFS_RPC_FS_ZERO_RANGE, CHANGES, "zero", &a_file_range, NULL, NULL },
	{ CFS_RPC_FS_SEEK, 0, "seek", &a_file_range, &ret_values, NULL },
};

#define ROW_COUNT (sizeof(rows) / sizeof(*rows))

const struct cfs_rpc_row *cfs_rpc_row(uint16_t type)
{
	size_t lo = 0, hi = ROW_COUNT;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (rows[mid].type < type)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < ROW_COUNT && rows[lo].type == type ? &rows[lo] : NULL;
}

size_t cfs_rpc_row_count(void)
{
	return ROW_COUNT;
}

const struct cfs_rpc_row *cfs_rpc_row_at(size_t index)
{
	return &rows[index];
}
