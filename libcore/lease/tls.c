// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * GnuTLS behind tls.h, reached through a table that dlopen fills.
 *
 * TLS 1.3 only, no session tickets, no early data: each connection shows its
 * certificate.  A client is through its handshake before the server has judged
 * its certificate; the refusal then comes as an alert with the first receive.
 */
#include "lease/tls.h"

#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY    "libgnutls.so.30"
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

#define FUNCTIONS(X)                                                           \
	X(gnutls_alert_get)                                                    \
	X(gnutls_alert_send_appropriate)                                       \
	X(gnutls_certificate_allocate_credentials)                             \
	X(gnutls_certificate_free_credentials)                                 \
	X(gnutls_certificate_get_peers)                                        \
	X(gnutls_certificate_server_set_request)                               \
	X(gnutls_certificate_set_x509_key_file2)                               \
	X(gnutls_certificate_set_x509_trust_file)                              \
	X(gnutls_credentials_set)                                              \
	X(gnutls_deinit)                                                       \
	X(gnutls_error_is_fatal)                                               \
	X(gnutls_fingerprint)                                                  \
	X(gnutls_handshake)                                                    \
	X(gnutls_init)                                                         \
	X(gnutls_priority_set_direct)                                          \
	X(gnutls_record_check_pending)                                         \
	X(gnutls_record_get_direction)                                         \
	X(gnutls_record_recv)                                                  \
	X(gnutls_record_send)                                                  \
	X(gnutls_session_get_verify_cert_status)                               \
	X(gnutls_session_set_verify_cert2)                                     \
	X(gnutls_strerror)                                                     \
	X(gnutls_transport_set_int2)                                           \
	X(gnutls_x509_crt_deinit)                                              \
	X(gnutls_x509_crt_get_dn)                                              \
	X(gnutls_x509_crt_import)                                              \
	X(gnutls_x509_crt_init)

static struct {
#define X(name) __typeof__(name) *name##_;
	FUNCTIONS(X)
#undef X
} api;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct cfs_err load_error;

struct cfs_tls {
	gnutls_certificate_credentials_t credentials;
	atomic_uint refs; /* the caller, and each stream */
};

struct cfs_tls_stream {
	struct cfs_tls *tls;
	pthread_mutex_t lock; /* a session is for one thread */
	gnutls_session_t session;
	gnutls_typed_vdata_st verify[2]; /* kept: not copied */
	char *host;
};

/* Never unloaded: other threads may be in it. */
static void load(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		cfs_err_set(&load_error, -ENOTSUP, "TLS needs " LIBRARY ": %s",
			    dlerror());
		return;
	}
#define X(name)                                                                \
	*(void **)(void *)&api.name##_ = dlsym(library, #name);                \
	if (!api.name##_)                                                      \
		cfs_err_set(&load_error, -ENOTSUP, LIBRARY " has no " #name);
	FUNCTIONS(X)
#undef X
}

/* ---------------------------------------------------------- credentials */

static int readable(const char *path, struct cfs_err *err)
{
	if (!path)
		return cfs_err_set(err, -EINVAL,
				   "TLS needs a certificate, a "
				   "key and a CA");
	if (access(path, R_OK) < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	return 0;
}

static int load_files(struct cfs_tls *tls, const struct cfs_tls_config *config,
		      struct cfs_err *err)
{
	int r = api.gnutls_certificate_allocate_credentials_(&tls->credentials);

	if (r < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = api.gnutls_certificate_set_x509_trust_file_(
		tls->credentials, config->ca, GNUTLS_X509_FMT_PEM);
	if (r <= 0)
		return cfs_err_set(err, -EINVAL,
				   "%s: no certificate of a CA "
				   "in it",
				   config->ca);
	r = api.gnutls_certificate_set_x509_key_file2_(
		tls->credentials, config->cert, config->key,
		GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r < 0)
		return cfs_err_set(err, -EINVAL, "%s, %s: %s", config->cert,
				   config->key, api.gnutls_strerror_(r));
	return 0;
}

int cfs_tls_new(const struct cfs_tls_config *config, struct cfs_tls **ret,
		struct cfs_err *err)
{
	struct cfs_tls *tls;
	int r = readable(config->cert, err);

	if (r == 0)
		r = readable(config->key, err);
	if (r == 0)
		r = readable(config->ca, err);
	if (r < 0)
		return r;
	pthread_once(&once, load);
	if (load_error.code) {
		if (err)
			*err = load_error;
		return load_error.code;
	}
	tls = calloc(1, sizeof(*tls));
	if (!tls)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	tls->refs = 1;
	r = load_files(tls, config, err);
	if (r < 0) {
		cfs_tls_free(tls);
		return r;
	}
	*ret = tls;
	return 0;
}

void cfs_tls_free(struct cfs_tls *tls)
{
	if (!tls || atomic_fetch_sub(&tls->refs, 1) > 1)
		return;
	if (tls->credentials)
		api.gnutls_certificate_free_credentials_(tls->credentials);
	free(tls);
}

/* -------------------------------------------------------------- streams */

/* What the peer has to show: a certificate for this use, of this host. */
static int set_judgement(struct cfs_tls_stream *stream, const char *host)
{
	unsigned int n = 0;

	stream->verify[n].type = GNUTLS_DT_KEY_PURPOSE_OID;
	stream->verify[n].data =
		(void *)(uintptr_t)(host ? GNUTLS_KP_TLS_WWW_SERVER
					 : GNUTLS_KP_TLS_WWW_CLIENT);
	stream->verify[n++].size = 0;
	if (host) {
		stream->host = strdup(host);
		if (!stream->host)
			return GNUTLS_E_MEMORY_ERROR;
		stream->verify[n].type = GNUTLS_DT_DNS_HOSTNAME;
		stream->verify[n].data = (void *)stream->host;
		stream->verify[n++].size = 0;
	} else {
		api.gnutls_certificate_server_set_request_(stream->session,
							   GNUTLS_CERT_REQUIRE);
	}
	api.gnutls_session_set_verify_cert2_(stream->session, stream->verify, n,
					     0);
	return 0;
}

int cfs_tls_stream_new(struct cfs_tls *tls, int fd, const char *host,
		       struct cfs_tls_stream **ret, struct cfs_err *err)
{
	const unsigned int flags = (host ? GNUTLS_CLIENT : GNUTLS_SERVER) |
				   GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
				   GNUTLS_NO_TICKETS;
	struct cfs_tls_stream *stream = calloc(1, sizeof(*stream));
	int r;

	if (!stream)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	atomic_fetch_add(&tls->refs, 1);
	stream->tls = tls;
	pthread_mutex_init(&stream->lock, NULL);
	r = api.gnutls_init_(&stream->session, flags);
	if (r == 0)
		r = api.gnutls_priority_set_direct_(stream->session, PRIORITIES,
						    NULL);
	if (r == 0)
		r = api.gnutls_credentials_set_(stream->session,
						GNUTLS_CRD_CERTIFICATE,
						tls->credentials);
	if (r == 0)
		r = set_judgement(stream, host);
	if (r < 0) {
		cfs_tls_stream_free(stream);
		return cfs_err_set(err, -EPROTO, "TLS: %s",
				   api.gnutls_strerror_(r));
	}
	api.gnutls_transport_set_int2_(stream->session, fd, fd);
	*ret = stream;
	return 0;
}

void cfs_tls_stream_free(struct cfs_tls_stream *stream)
{
	if (!stream)
		return;
	if (stream->session)
		api.gnutls_deinit_(stream->session);
	pthread_mutex_destroy(&stream->lock);
	cfs_tls_free(stream->tls);
	free(stream->host);
	free(stream);
}

/* Refusals of a certificate, ours by the peer. */
static bool is_refusal(gnutls_alert_description_t alert)
{
	switch (alert) {
	case GNUTLS_A_BAD_CERTIFICATE:
	case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
	case GNUTLS_A_CERTIFICATE_REVOKED:
	case GNUTLS_A_CERTIFICATE_EXPIRED:
	case GNUTLS_A_CERTIFICATE_UNKNOWN:
	case GNUTLS_A_UNKNOWN_CA:
	case GNUTLS_A_ACCESS_DENIED:
	case GNUTLS_A_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static int code_of(struct cfs_tls_stream *stream, ssize_t r)
{
	switch (r) {
	case GNUTLS_E_AGAIN:
	case GNUTLS_E_INTERRUPTED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
		return -EAGAIN;
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PUSH_ERROR:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_SESSION_EOF:
		return -ECONNRESET;
	case GNUTLS_E_CERTIFICATE_ERROR:
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		return -EACCES;
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return is_refusal(api.gnutls_alert_get_(stream->session))
			       ? -EACCES
			       : -EPROTO;
	default:
		return api.gnutls_error_is_fatal_((int)r) ? -EPROTO : -EAGAIN;
	}
}

/* What is wrong with the certificate that the peer has shown. */
static int bad_certificate(struct cfs_tls_stream *stream, struct cfs_err *err)
{
	unsigned int status = api.gnutls_session_get_verify_cert_status_(
		stream->session);

	if (status & GNUTLS_CERT_UNEXPECTED_OWNER)
		return cfs_err_set(err, -EACCES,
				   "TLS: its certificate does "
				   "not name the host %s",
				   stream->host ? stream->host : "");
	if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
		return cfs_err_set(err, -EACCES,
				   "TLS: its certificate is not "
				   "of our CA");
	if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
		return cfs_err_set(err, -EACCES,
				   "TLS: its certificate is "
				   "not valid today");
	return cfs_err_set(err, -EACCES, "TLS: its certificate is not good");
}

int cfs_tls_stream_handshake(struct cfs_tls_stream *stream, struct cfs_err *err)
{
	int r, code;

	pthread_mutex_lock(&stream->lock);
	r = api.gnutls_handshake_(stream->session);
	code = r < 0 ? code_of(stream, r) : 0;
	/* So that the other side can say what is wrong with it. */
	if (code < 0 && code != -EAGAIN)
		(void)api.gnutls_alert_send_appropriate_(stream->session, r);
	pthread_mutex_unlock(&stream->lock);
	if (code == 0 || code == -EAGAIN)
		return code;
	if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return bad_certificate(stream, err);
	return cfs_err_set(err, code, "TLS: %s", api.gnutls_strerror_(r));
}

bool cfs_tls_stream_wants_write(const struct cfs_tls_stream *stream)
{
	return api.gnutls_record_get_direction_(stream->session) == 1;
}

ssize_t cfs_tls_stream_send(struct cfs_tls_stream *stream, const void *bytes,
			    size_t length_bytes)
{
	ssize_t r;

	pthread_mutex_lock(&stream->lock);
	r = api.gnutls_record_send_(stream->session, bytes, length_bytes);
	if (r < 0)
		r = code_of(stream, r);
	pthread_mutex_unlock(&stream->lock);
	return r;
}

ssize_t cfs_tls_stream_recv(struct cfs_tls_stream *stream, void *bytes,
			    size_t room_bytes)
{
	ssize_t r;

	pthread_mutex_lock(&stream->lock);
	r = api.gnutls_record_recv_(stream->session, bytes, room_bytes);
	if (r < 0)
		r = code_of(stream, r);
	pthread_mutex_unlock(&stream->lock);
	return r;
}

bool cfs_tls_stream_has_pending(const struct cfs_tls_stream *stream)
{
	return api.gnutls_record_check_pending_(stream->session) > 0;
}

int cfs_tls_stream_peer(const struct cfs_tls_stream *stream,
			char ret_name[CFS_TLS_NAME_BYTES],
			uint8_t ret_fingerprint[CFS_TLS_FINGERPRINT_BYTES],
			struct cfs_err *err)
{
	const gnutls_datum_t *list;
	unsigned int count = 0;
	size_t name_bytes = CFS_TLS_NAME_BYTES;
	size_t print_bytes = CFS_TLS_FINGERPRINT_BYTES;
	gnutls_x509_crt_t crt = NULL;
	int r;

	list = api.gnutls_certificate_get_peers_(stream->session, &count);
	if (!list || count == 0)
		return cfs_err_set(err, -EACCES,
				   "TLS: the peer has shown no "
				   "certificate");
	r = api.gnutls_x509_crt_init_(&crt);
	if (r == 0)
		r = api.gnutls_x509_crt_import_(crt, list, GNUTLS_X509_FMT_DER);
	if (r == 0)
		r = api.gnutls_x509_crt_get_dn_(crt, ret_name, &name_bytes);
	/* A name without an end is no name: the fingerprint says who it is. */
	if (r == GNUTLS_E_SHORT_MEMORY_BUFFER ||
	    r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		ret_name[0] = '\0';
		r = 0;
	}
	if (r == 0)
		r = api.gnutls_fingerprint_(GNUTLS_DIG_SHA256, list,
					    ret_fingerprint, &print_bytes);
	if (crt)
		api.gnutls_x509_crt_deinit_(crt);
	if (r < 0)
		return cfs_err_set(err, -EACCES,
				   "TLS: the peer's "
				   "certificate: %s",
				   api.gnutls_strerror_(r));
	return 0;
}
