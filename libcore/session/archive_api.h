/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libarchive, loaded when an archive is first met.  It brings a dozen other
 * libraries along, which would cost every start of every tool more time than
 * most of their work takes; only imports and exports of archives need it.
 *
 * Include this instead of <archive.h>, and call cfs_archive_load before any
 * of the functions, which are then reached through the table.
 */
#pragma once

#include "base/err.h"

#include <archive.h>
#include <archive_entry.h>

/* Those that are used; a new one is added here, and below. */
#define CFS_ARCHIVE_FUNCTIONS(X)                                               \
	X(archive_entry_acl_add_entry)                                         \
	X(archive_entry_acl_next)                                              \
	X(archive_entry_acl_reset)                                             \
	X(archive_entry_atime)                                                 \
	X(archive_entry_atime_is_set)                                          \
	X(archive_entry_atime_nsec)                                            \
	X(archive_entry_clear)                                                 \
	X(archive_entry_copy_hardlink)                                         \
	X(archive_entry_copy_pathname)                                         \
	X(archive_entry_copy_symlink)                                          \
	X(archive_entry_free)                                                  \
	X(archive_entry_gid)                                                   \
	X(archive_entry_hardlink)                                              \
	X(archive_entry_mode)                                                  \
	X(archive_entry_mtime)                                                 \
	X(archive_entry_mtime_is_set)                                          \
	X(archive_entry_mtime_nsec)                                            \
	X(archive_entry_new)                                                   \
	X(archive_entry_nlink)                                                 \
	X(archive_entry_pathname)                                              \
	X(archive_entry_rdevmajor)                                             \
	X(archive_entry_rdevminor)                                             \
	X(archive_entry_set_atime)                                             \
	X(archive_entry_set_ctime)                                             \
	X(archive_entry_set_dev)                                               \
	X(archive_entry_set_gid)                                               \
	X(archive_entry_set_ino)                                               \
	X(archive_entry_set_mode)                                              \
	X(archive_entry_set_mtime)                                             \
	X(archive_entry_set_nlink)                                             \
	X(archive_entry_set_rdevmajor)                                         \
	X(archive_entry_set_rdevminor)                                         \
	X(archive_entry_set_size)                                              \
	X(archive_entry_set_uid)                                               \
	X(archive_entry_size)                                                  \
	X(archive_entry_size_is_set)                                           \
	X(archive_entry_sparse_add_entry)                                      \
	X(archive_entry_symlink)                                               \
	X(archive_entry_uid)                                                   \
	X(archive_entry_xattr_add_entry)                                       \
	X(archive_entry_xattr_next)                                            \
	X(archive_entry_xattr_reset)                                           \
	X(archive_errno)                                                       \
	X(archive_error_string)                                                \
	X(archive_filter_bytes)                                                \
	X(archive_format)                                                      \
	X(archive_read_data_block)                                             \
	X(archive_read_free)                                                   \
	X(archive_read_new)                                                    \
	X(archive_read_header_position)                                        \
	X(archive_read_next_header)                                            \
	X(archive_read_open1)                                                  \
	X(archive_read_set_callback_data)                                      \
	X(archive_read_set_read_callback)                                      \
	X(archive_read_set_seek_callback)                                      \
	X(archive_read_support_filter_bzip2)                                   \
	X(archive_read_support_filter_compress)                                \
	X(archive_read_support_filter_gzip)                                    \
	X(archive_read_support_filter_lz4)                                     \
	X(archive_read_support_filter_lzip)                                    \
	X(archive_read_support_filter_lzma)                                    \
	X(archive_read_support_filter_lzop)                                    \
	X(archive_read_support_filter_rpm)                                     \
	X(archive_read_support_filter_uu)                                      \
	X(archive_read_support_filter_xz)                                      \
	X(archive_read_support_filter_zstd)                                    \
	X(archive_read_support_format_7zip)                                    \
	X(archive_read_support_format_ar)                                      \
	X(archive_read_support_format_cab)                                     \
	X(archive_read_support_format_cpio)                                    \
	X(archive_read_support_format_iso9660)                                 \
	X(archive_read_support_format_lha)                                     \
	X(archive_read_support_format_rar)                                     \
	X(archive_read_support_format_rar5)                                    \
	X(archive_read_support_format_tar)                                     \
	X(archive_read_support_format_warc)                                    \
	X(archive_read_support_format_xar)                                     \
	X(archive_read_support_format_zip)                                     \
	X(archive_set_error)                                                   \
	X(archive_write_add_filter)                                            \
	X(archive_write_close)                                                 \
	X(archive_write_data)                                                  \
	X(archive_write_fail)                                                  \
	X(archive_write_finish_entry)                                          \
	X(archive_write_free)                                                  \
	X(archive_write_header)                                                \
	X(archive_write_new)                                                   \
	X(archive_write_open)                                                  \
	X(archive_write_set_bytes_in_last_block)                               \
	X(archive_write_set_bytes_per_block)                                   \
	X(archive_write_set_format)                                            \
	X(archive_write_set_format_option)

struct cfs_archive_api {
#define X(name) __typeof__(name) *name##_;
	CFS_ARCHIVE_FUNCTIONS(X)
#undef X
};
extern struct cfs_archive_api cfs_archive_api;

/*
 * Once a process, from any thread.  -ENOTSUP: the library is not installed, or
 * lacks a function; @err says which.
 */
int cfs_archive_load(struct cfs_err *err);

#ifndef CFS_ARCHIVE_NO_MACROS
#define archive_entry_acl_add_entry(...)                                       \
	cfs_archive_api.archive_entry_acl_add_entry_(__VA_ARGS__)
#define archive_entry_acl_next(...)                                            \
	cfs_archive_api.archive_entry_acl_next_(__VA_ARGS__)
#define archive_entry_acl_reset(...)                                           \
	cfs_archive_api.archive_entry_acl_reset_(__VA_ARGS__)
#define archive_entry_atime(...)                                               \
	cfs_archive_api.archive_entry_atime_(__VA_ARGS__)
#define archive_entry_atime_is_set(...)                                        \
	cfs_archive_api.archive_entry_atime_is_set_(__VA_ARGS__)
#define archive_entry_atime_nsec(...)                                          \
	cfs_archive_api.archive_entry_atime_nsec_(__VA_ARGS__)
#define archive_entry_clear(...)                                               \
	cfs_archive_api.archive_entry_clear_(__VA_ARGS__)
#define archive_entry_copy_hardlink(...)                                       \
	cfs_archive_api.archive_entry_copy_hardlink_(__VA_ARGS__)
#define archive_entry_copy_pathname(...)                                       \
	cfs_archive_api.archive_entry_copy_pathname_(__VA_ARGS__)
#define archive_entry_copy_symlink(...)                                        \
	cfs_archive_api.archive_entry_copy_symlink_(__VA_ARGS__)
#define archive_entry_free(...) cfs_archive_api.archive_entry_free_(__VA_ARGS__)
#define archive_entry_gid(...)  cfs_archive_api.archive_entry_gid_(__VA_ARGS__)
#define archive_entry_hardlink(...)                                            \
	cfs_archive_api.archive_entry_hardlink_(__VA_ARGS__)
#define archive_entry_mode(...) cfs_archive_api.archive_entry_mode_(__VA_ARGS__)
#define archive_entry_mtime(...)                                               \
	cfs_archive_api.archive_entry_mtime_(__VA_ARGS__)
#define archive_entry_mtime_is_set(...)                                        \
	cfs_archive_api.archive_entry_mtime_is_set_(__VA_ARGS__)
#define archive_entry_mtime_nsec(...)                                          \
	cfs_archive_api.archive_entry_mtime_nsec_(__VA_ARGS__)
#define archive_entry_new(...) cfs_archive_api.archive_entry_new_(__VA_ARGS__)
#define archive_entry_nlink(...)                                               \
	cfs_archive_api.archive_entry_nlink_(__VA_ARGS__)
#define archive_entry_pathname(...)                                            \
	cfs_archive_api.archive_entry_pathname_(__VA_ARGS__)
#define archive_entry_rdevmajor(...)                                           \
	cfs_archive_api.archive_entry_rdevmajor_(__VA_ARGS__)
#define archive_entry_rdevminor(...)                                           \
	cfs_archive_api.archive_entry_rdevminor_(__VA_ARGS__)
#define archive_entry_set_atime(...)                                           \
	cfs_archive_api.archive_entry_set_atime_(__VA_ARGS__)
#define archive_entry_set_ctime(...)                                           \
	cfs_archive_api.archive_entry_set_ctime_(__VA_ARGS__)
#define archive_entry_set_dev(...)                                             \
	cfs_archive_api.archive_entry_set_dev_(__VA_ARGS__)
#define archive_entry_set_gid(...)                                             \
	cfs_archive_api.archive_entry_set_gid_(__VA_ARGS__)
#define archive_entry_set_ino(...)                                             \
	cfs_archive_api.archive_entry_set_ino_(__VA_ARGS__)
#define archive_entry_set_mode(...)                                            \
	cfs_archive_api.archive_entry_set_mode_(__VA_ARGS__)
#define archive_entry_set_mtime(...)                                           \
	cfs_archive_api.archive_entry_set_mtime_(__VA_ARGS__)
#define archive_entry_set_nlink(...)                                           \
	cfs_archive_api.archive_entry_set_nlink_(__VA_ARGS__)
#define archive_entry_set_rdevmajor(...)                                       \
	cfs_archive_api.archive_entry_set_rdevmajor_(__VA_ARGS__)
#define archive_entry_set_rdevminor(...)                                       \
	cfs_archive_api.archive_entry_set_rdevminor_(__VA_ARGS__)
#define archive_entry_set_size(...)                                            \
	cfs_archive_api.archive_entry_set_size_(__VA_ARGS__)
#define archive_entry_set_uid(...)                                             \
	cfs_archive_api.archive_entry_set_uid_(__VA_ARGS__)
#define archive_entry_size(...) cfs_archive_api.archive_entry_size_(__VA_ARGS__)
#define archive_entry_size_is_set(...)                                         \
	cfs_archive_api.archive_entry_size_is_set_(__VA_ARGS__)
#define archive_entry_sparse_add_entry(...)                                    \
	cfs_archive_api.archive_entry_sparse_add_entry_(__VA_ARGS__)
#define archive_entry_symlink(...)                                             \
	cfs_archive_api.archive_entry_symlink_(__VA_ARGS__)
#define archive_entry_uid(...) cfs_archive_api.archive_entry_uid_(__VA_ARGS__)
#define archive_entry_xattr_add_entry(...)                                     \
	cfs_archive_api.archive_entry_xattr_add_entry_(__VA_ARGS__)
#define archive_entry_xattr_next(...)                                          \
	cfs_archive_api.archive_entry_xattr_next_(__VA_ARGS__)
#define archive_entry_xattr_reset(...)                                         \
	cfs_archive_api.archive_entry_xattr_reset_(__VA_ARGS__)
#define archive_errno(...) cfs_archive_api.archive_errno_(__VA_ARGS__)
#define archive_filter_bytes(...)                                              \
	cfs_archive_api.archive_filter_bytes_(__VA_ARGS__)
#define archive_read_header_position(...)                                      \
	cfs_archive_api.archive_read_header_position_(__VA_ARGS__)
#define archive_error_string(...)                                              \
	cfs_archive_api.archive_error_string_(__VA_ARGS__)
#define archive_format(...) cfs_archive_api.archive_format_(__VA_ARGS__)
#define archive_read_data_block(...)                                           \
	cfs_archive_api.archive_read_data_block_(__VA_ARGS__)
#define archive_read_free(...) cfs_archive_api.archive_read_free_(__VA_ARGS__)
#define archive_read_new(...)  cfs_archive_api.archive_read_new_(__VA_ARGS__)
#define archive_read_next_header(...)                                          \
	cfs_archive_api.archive_read_next_header_(__VA_ARGS__)
#define archive_read_open1(...) cfs_archive_api.archive_read_open1_(__VA_ARGS__)
#define archive_read_set_callback_data(...)                                    \
	cfs_archive_api.archive_read_set_callback_data_(__VA_ARGS__)
#define archive_read_set_read_callback(...)                                    \
	cfs_archive_api.archive_read_set_read_callback_(__VA_ARGS__)
#define archive_read_set_seek_callback(...)                                    \
	cfs_archive_api.archive_read_set_seek_callback_(__VA_ARGS__)
#define archive_read_support_filter_bzip2(...)                                 \
	cfs_archive_api.archive_read_support_filter_bzip2_(__VA_ARGS__)
#define archive_read_support_filter_compress(...)                              \
	cfs_archive_api.archive_read_support_filter_compress_(__VA_ARGS__)
#define archive_read_support_filter_gzip(...)                                  \
	cfs_archive_api.archive_read_support_filter_gzip_(__VA_ARGS__)
#define archive_read_support_filter_lz4(...)                                   \
	cfs_archive_api.archive_read_support_filter_lz4_(__VA_ARGS__)
#define archive_read_support_filter_lzip(...)                                  \
	cfs_archive_api.archive_read_support_filter_lzip_(__VA_ARGS__)
#define archive_read_support_filter_lzma(...)                                  \
	cfs_archive_api.archive_read_support_filter_lzma_(__VA_ARGS__)
#define archive_read_support_filter_lzop(...)                                  \
	cfs_archive_api.archive_read_support_filter_lzop_(__VA_ARGS__)
#define archive_read_support_filter_rpm(...)                                   \
	cfs_archive_api.archive_read_support_filter_rpm_(__VA_ARGS__)
#define archive_read_support_filter_uu(...)                                    \
	cfs_archive_api.archive_read_support_filter_uu_(__VA_ARGS__)
#define archive_read_support_filter_xz(...)                                    \
	cfs_archive_api.archive_read_support_filter_xz_(__VA_ARGS__)
#define archive_read_support_filter_zstd(...)                                  \
	cfs_archive_api.archive_read_support_filter_zstd_(__VA_ARGS__)
#define archive_read_support_format_7zip(...)                                  \
	cfs_archive_api.archive_read_support_format_7zip_(__VA_ARGS__)
#define archive_read_support_format_ar(...)                                    \
	cfs_archive_api.archive_read_support_format_ar_(__VA_ARGS__)
#define archive_read_support_format_cab(...)                                   \
	cfs_archive_api.archive_read_support_format_cab_(__VA_ARGS__)
#define archive_read_support_format_cpio(...)                                  \
	cfs_archive_api.archive_read_support_format_cpio_(__VA_ARGS__)
#define archive_read_support_format_iso9660(...)                               \
	cfs_archive_api.archive_read_support_format_iso9660_(__VA_ARGS__)
#define archive_read_support_format_lha(...)                                   \
	cfs_archive_api.archive_read_support_format_lha_(__VA_ARGS__)
#define archive_read_support_format_rar(...)                                   \
	cfs_archive_api.archive_read_support_format_rar_(__VA_ARGS__)
#define archive_read_support_format_rar5(...)                                  \
	cfs_archive_api.archive_read_support_format_rar5_(__VA_ARGS__)
#define archive_read_support_format_tar(...)                                   \
	cfs_archive_api.archive_read_support_format_tar_(__VA_ARGS__)
#define archive_read_support_format_warc(...)                                  \
	cfs_archive_api.archive_read_support_format_warc_(__VA_ARGS__)
#define archive_read_support_format_xar(...)                                   \
	cfs_archive_api.archive_read_support_format_xar_(__VA_ARGS__)
#define archive_read_support_format_zip(...)                                   \
	cfs_archive_api.archive_read_support_format_zip_(__VA_ARGS__)
#define archive_set_error(...) cfs_archive_api.archive_set_error_(__VA_ARGS__)
#define archive_write_add_filter(...)                                          \
	cfs_archive_api.archive_write_add_filter_(__VA_ARGS__)
#define archive_write_close(...)                                               \
	cfs_archive_api.archive_write_close_(__VA_ARGS__)
#define archive_write_data(...) cfs_archive_api.archive_write_data_(__VA_ARGS__)
#define archive_write_fail(...) cfs_archive_api.archive_write_fail_(__VA_ARGS__)
#define archive_write_finish_entry(...)                                        \
	cfs_archive_api.archive_write_finish_entry_(__VA_ARGS__)
#define archive_write_free(...) cfs_archive_api.archive_write_free_(__VA_ARGS__)
#define archive_write_header(...)                                              \
	cfs_archive_api.archive_write_header_(__VA_ARGS__)
#define archive_write_new(...)  cfs_archive_api.archive_write_new_(__VA_ARGS__)
#define archive_write_open(...) cfs_archive_api.archive_write_open_(__VA_ARGS__)
#define archive_write_set_bytes_in_last_block(...)                             \
	cfs_archive_api.archive_write_set_bytes_in_last_block_(__VA_ARGS__)
#define archive_write_set_bytes_per_block(...)                                 \
	cfs_archive_api.archive_write_set_bytes_per_block_(__VA_ARGS__)
#define archive_write_set_format(...)                                          \
	cfs_archive_api.archive_write_set_format_(__VA_ARGS__)
#define archive_write_set_format_option(...)                                   \
	cfs_archive_api.archive_write_set_format_option_(__VA_ARGS__)
#endif
