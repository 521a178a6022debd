/* SPDX-License-Identifier: MIT
 *
 * What the filestore's own files share: the upload, the operations on it, the worker pool, the store.
 *
 * An upload is worked on by lanes, each of which is at most one job of the pool at a time:
 *
 *     write   takes operations from `writes` in order of offset and gives the bytes to the blob plugin
 *     hash    takes what was written from `hashes` (still in memory) into the SHA-256; catches up from the blob otherwise
 *     flush   asks the blob plugin to begin moving bytes to disk, so that the sync at the end is short
 *     commit  syncs, replaces the record, and answers everybody in `waiters`
 *
 * So bytes of one upload are written and hashed on two cores at once. Operations that need the upload for themselves
 * (acquire, delete, ...) stand in `alone` until all lanes are still. Nothing holds a lock across disk work. */
#ifndef WR_FS_PRIV_H
#define WR_FS_PRIV_H

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "watchroom/v1/files.pb-c.h"
#include "wr_blob.h"
#include "wr_err.h"
#include "wr_map.h"
#include "wr_msg.h"

#define FS_ID_LEN 26
#define FS_ID_MAX WR_BLOB_ID_MAX
#define FS_NONCE_MAX 32
#define FS_CHUNK_MAX (1u << 20) /* bytes of one write or read */
#define FS_AHEAD_MAX 64u        /* writes of one upload that wait for those before them */
/* Bytes of all uploads' writes in memory: a buffer each of three gateways' uploads. */
#define FS_QUEUED_MAX (128u << 20)
#define FS_UNFINISHED_MAX 100000u /* uploads */
#define FS_UNFINISHED_SHARE 2000u /* of them one owner's */
/* Nobody went on with it for so long: its room, and with too many its place, is others' when they need it. */
#define FS_IDLE_MS 60000
#define FS_OWNER_ROOM 64u        /* bytes with the NUL */
#define FS_JOBS_MAX 4096u        /* creates, reads and opens that wait for a worker */
#define FS_FLUSH_STEP (8u << 20) /* bytes */
#define FS_TEXT_MAX \
    4096u /* bytes of a file name, type, ...; the metadata header has FS_METADATA_MAX */
#define FS_METADATA_MAX 16384u

/* ---- pool ---------------------------------------------------------------------------------------------------------- */

struct fs_job {
    void (*run)(struct fs_job *job);
    struct fs_job *next;
};

struct fs_pool {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct fs_job *head, **tail;
    bool stopping;
    pthread_t threads[16];
    unsigned num_threads;
};

WR_MUST_USE wr_err fs_pool_init(struct fs_pool *p, unsigned threads);
/* A job stands in the queue at most once. Any thread. */
void fs_pool_add(struct fs_pool *p, struct fs_job *job);
/* Runs what is queued, then ends the threads. */
void fs_pool_fini(struct fs_pool *p);

/* ---- operations ---------------------------------------------------------------------------------------------------- */

enum fs_op_kind {
    FS_OP_INVALID = 0,
    FS_OP_CREATE,
    FS_OP_ACQUIRE,
    FS_OP_WRITE,
    FS_OP_STAT,
    FS_OP_DELETE,
    FS_OP_READ,
    FS_OP_OPEN,
    FS_OP_ANNOUNCED, /* remember that the room has the entry */
    FS_OP_REST,      /* close the blob of an upload that nobody writes */
    FS_OP_EXPIRE,    /* delete unless it was touched meanwhile */
};

struct fs_store;
struct fs_upload;

/* One operation. Its maker fills the inputs and gives it away with fs_store_do; `done` runs exactly once, without locks,
 * on any thread, and frees it. */
struct fs_op {
    struct fs_op *next;
    enum fs_op_kind kind;
    void (*done)(struct fs_op *op);
    void *ctx;
    int64_t deadline_us;
    /* in: */
    char id[FS_ID_MAX + 1];
    uint64_t fence;
    uint64_t offset;
    uint8_t nonce[FS_NONCE_MAX];
    size_t nonce_n;
    struct wr_slice data;                       /* borrowed, valid until done */
    bool sync;                                  /* write: answer when on disk */
    bool release;                               /* stat: fence the writer off first */
    uint32_t length;                            /* read: bytes wanted */
    const Watchroom__V1__CreateRequest *create; /* valid until fs_store_do returns */
    /* out: */
    wr_err code;
    struct wr_errmsg text;
    struct wr_msg *bytes; /* read: data with room in front, moved to done */
    int fd;               /* open: moved to done; -1 when there is none */
    struct fs_upload *u;  /* the upload, referenced until after done; NULL when it was not found */
    /* private to the store: */
    struct fs_job job;
    struct fs_store *store;
    size_t queued;   /* bytes counted in store->queued */
    uint64_t target; /* waiters: bytes that must be on disk */
};

struct fs_list {
    struct fs_op *head, **tail;
};
static inline void fs_list_init(struct fs_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}
static inline void fs_list_add(struct fs_list *l, struct fs_op *op)
{
    op->next = NULL;
    *l->tail = op;
    l->tail = &op->next;
}
static inline struct fs_op *fs_list_take(struct fs_list *l)
{
    struct fs_op *op = l->head;
    if (op && !(l->head = op->next))
        l->tail = &l->head;
    return op;
}
/* Appends all of `from`, which is empty afterwards. */
static inline void fs_list_move(struct fs_list *to, struct fs_list *from)
{
    if (from->head) {
        *to->tail = from->head;
        to->tail = from->tail;
        fs_list_init(from);
    }
}

/* ---- uploads ------------------------------------------------------------------------------------------------------- */

enum fs_state { FS_CREATING = 1, FS_OPEN, FS_COMPLETE, FS_FAILED, FS_DELETED };
enum fs_lane { FS_LANE_WRITE = 1, FS_LANE_HASH = 2, FS_LANE_FLUSH = 4, FS_LANE_COMMIT = 8 };

struct fs_upload {
    struct fs_store *store;
    atomic_uint refs;
    /* fixed once created: */
    char id[FS_ID_MAX + 1];
    uint64_t length;
    char *filename, *filetype, *room, *name, *metadata;
    char owner[FS_OWNER_ROOM];
    int64_t created_ms;
    uint64_t reserved; /* bytes, guarded by the lock of store->room */
    bool is_counted;   /* so is this: among the unfinished */

    pthread_mutex_t
        lock; /* guards what follows; never held across disk work; store->lock is never taken under it */
    enum fs_state state;
    unsigned busy;  /* lanes and (bit 31) an `alone` operation that have a job queued or running */
    uint64_t fence; /* 0 = nobody may write */
    /* A write under this fence failed: what was sent behind it and comes only now is refused for the same reason, instead
     * of waiting for bytes that nobody will send. 0 = none. */
    uint64_t failed_fence;
    wr_err failed_code;
    struct wr_errmsg failed_why;
    uint8_t nonce[FS_NONCE_MAX];
    size_t nonce_n;
    uint64_t queued_end; /* end of writes in order */
    uint64_t written;    /* end of what the blob has */
    uint64_t hash_tail;  /* end of what is hashed or in `hashes` */
    uint64_t hashed;
    uint64_t flushed; /* end of what a flush began to move */
    uint64_t durable; /* end of what is synced and recorded: what may be told */
    bool
        must_rewind; /* the disk had no room for what is behind `durable`: alone, back to it, before anything else */
    bool must_cut; /* the blob may be longer than `written`: cut it before the next write */
    bool
        record_failed; /* `durable` is behind `written` because the disk had no room for the record */
    bool hash_stuck;   /* hashing failed: not again before somebody asks */
    bool announced;
    uint8_t sha256[32];
    int64_t completed_ms;
    int64_t touched_ms; /* age clock */
    int64_t announce_at_us;
    unsigned announce_tries;
    struct fs_list ahead; /* sorted by offset; a hole before the first */
    unsigned num_ahead;
    struct fs_list writes, hashes, waiters, alone;

    /* used by whoever holds the lane (blob: opened by the first that needs it, under the lock; closed only alone) */
    struct wr_blob *blob;
    EVP_MD_CTX *md;

    pthread_mutex_t read_lock; /* guards what follows; held across opening */
    struct wr_blob *reader;
    unsigned reading;
    int64_t read_us;

    struct fs_job write_job, hash_job, flush_job, commit_job, alone_job;
    struct fs_upload *announce_next;
};

/* What unfinished uploads hold: places, and room on the disk for what is still to come of them (fs_room.c). */
struct fs_room {
    pthread_mutex_t lock; /* guards what follows, and the uploads' fields that say so; taken last */
    uint64_t reserved;    /* bytes */
    unsigned unfinished;  /* uploads */
    struct wr_map owners; /* name -> struct fs_owner */
    int64_t made_way_us;  /* when it was last looked for some that may go */
};

/* A worker that makes uploads: all that were asked for meanwhile are one batch. */
struct fs_creator {
    struct fs_job job;
    struct fs_store *store;
    bool is_busy; /* guarded by store->lock */
    /* its turn's: */
    size_t refused; /* uploads, since a line said so */
    int64_t said_us;
};
#define FS_CREATORS 2u

struct fs_store_opts {
    const struct wr_blob_plugin *blob;
    const char *path;
    uint64_t min_free_bytes;
    int64_t expire_ms;
    /* An upload became complete or was deleted. No lock is held; may be NULL. */
    void (*changed)(void *ctx, struct fs_upload *u, bool deleted);
    /* An upload is complete and its room does not know yet. */
    void (*announce)(void *ctx, struct fs_upload *u);
    /* The store is well ("") or not, and why; when that changes, from fs_store_look. May be NULL. */
    void (*well)(void *ctx, const char *why);
    void *ctx;
};

struct fs_store {
    struct fs_store_opts opts;
    char where[64]; /* of OpenResponse; set before calls come */
    void *blob_state;
    struct fs_pool lanes;   /* whatever an upload's bytes need: all of it may wait in syncs */
    struct fs_pool reads;   /* so these have threads of their own: of files, */
    struct fs_pool creates; /* and of new uploads */
    char boot_id[40];
    struct fs_room room;
    struct fs_creator creators[FS_CREATORS];
    pthread_mutex_t lock;  /* guards uploads, creating, the creators, unwell and refuses */
    struct wr_map uploads; /* id -> struct fs_upload, one reference each */
    struct fs_list creating;
    struct wr_errmsg unwell; /* "": it is well */
    bool refuses;            /* it is so unwell that nothing new is taken */
    atomic_size_t queued;    /* bytes */
    atomic_uint jobs;
    atomic_uint damaged; /* files and uploads that were found so */
};

/* Opens the blob plugin, loads all records. Errors with text as the plugin's open. */
WR_MUST_USE wr_err fs_store_init(struct fs_store *s, const struct fs_store_opts *opts,
                                 struct wr_errmsg *err);
/* Ends running work (what is queued is answered CLOSED or done), frees. */
void fs_store_fini(struct fs_store *s);
/* Gives an operation to the store. Never blocks on the disk. */
void fs_store_do(struct fs_store *s, struct fs_op *op);
/* Expires, closes idle blobs, drops writes whose hole was not filled in time. now_ms is the age clock (wr_age_now_ms). */
void fs_store_tick(struct fs_store *s, int64_t now_ms);
/* Looks how the disk is: about once a second, by one thread. May wait for the disk. */
void fs_store_look(struct fs_store *s);
/* UNAVAILABLE with the operator's sentence while the store takes nothing. */
WR_MUST_USE wr_err fs_store_may_write(struct fs_store *s, struct wr_errmsg *why);
/* A file or an upload was found damaged or lost, and that was logged. */
void fs_store_damaged(struct fs_store *s);
/* Every complete upload with a room that was not announced is given to opts.announce. */
void fs_store_announce_all(struct fs_store *s);

/* NULL when unknown; unref it. */
struct fs_upload *fs_upload_find(struct fs_store *s, const char *id);
struct fs_upload *fs_upload_ref(struct fs_upload *u);
void fs_upload_unref(struct fs_upload *u);
/* Fills a message that borrows from u, and sha from its hash. Takes the lock. */
void fs_upload_tell(struct fs_upload *u, Watchroom__V1__Upload *out, uint8_t sha[32]);

/* ---- between the store's own files ---- */

/* Whom the door gives an operation to. fs_read, fs_open: op->u is the upload. */
void fs_create(struct fs_store *s, struct fs_op *op);
void fs_creators_init(struct fs_store *s);
void fs_read(struct fs_upload *u, struct fs_op *op);
/* False: there is no descriptor to be had, and the operation is as one that asks for the offset. */
WR_MUST_USE bool fs_open(struct fs_upload *u, struct fs_op *op);

struct fs_upload *fs_upload_new(struct fs_store *s, const char *id);
/* References to all uploads, so that no lock is held while they are looked at; to be freed. NULL: no memory, *n is 0. */
struct fs_upload **fs_uploads_all(struct fs_store *s, size_t *n);
/* Does something with an upload of our own accord; nobody waits for it. False: no memory. */
bool fs_upload_do(struct fs_upload *u, enum fs_op_kind kind, uint64_t offset);
/* Under s->lock: into the table, which takes over the reference; false when there is no memory for it. */
WR_MUST_USE bool fs_upload_put(struct fs_store *s, struct fs_upload *u);
/* Out of the table, and the table's reference is let go. */
void fs_upload_forget(struct fs_upload *u);
/* At the end: answers what still waits with CLOSED, and empties the table. */
void fs_uploads_free(struct fs_store *s);
/* Tells the result, exactly once: runs done, and lets op->u go. With a sentence: fs_op_finish. */
void fs_op_end(struct fs_op *op, wr_err code);
void fs_op_finish(struct fs_op *op, wr_err code, const char *fmt, ...) WR_PRINTF(3, 4);
/* Finishes all; text as one operation's. */
void fs_list_finish(struct fs_list *l, wr_err code, const char *text);
/* Under u->lock: queues jobs for every lane that has something to do and is not busy. */
void fs_lanes_kick(struct fs_upload *u);
void fs_lanes_init(struct fs_upload *u);
/* Under u->lock: forgets writes that wait, into out. */
void fs_lanes_drop_writes(struct fs_upload *u, struct fs_list *out);
/* Alone, under u->lock: back to the offset that was told; nothing waits in u->hashes. */
void fs_lanes_rewind(struct fs_upload *u);
/* Under u->lock: takes a write into the queue; false when it is to be finished with op->code and op->text. */
WR_MUST_USE bool fs_lanes_accept(struct fs_upload *u, struct fs_op *op);
/* An operation's bytes are no longer needed: takes them from the count of bytes in memory. */
void fs_lanes_release(struct fs_op *op);
/* Opens u->blob if it is not. By a lane's job. */
WR_MUST_USE wr_err fs_upload_open_blob(struct fs_upload *u, struct wr_errmsg *err);
/* Runs one operation that has the upload for itself. */
void fs_alone_run(struct fs_upload *u, struct fs_op *op);
/* Writes the record with what the upload is now and `durable` as its offset; as complete when completed_ms is not 0. By the
 * commit lane or alone. */
WR_MUST_USE wr_err fs_record_put(struct fs_upload *u, uint64_t durable, int64_t completed_ms,
                                 struct wr_errmsg *err);
/* The same record as bytes, for several at once (put_all): freed by fs_record_free, which takes zeroed ones. */
WR_MUST_USE wr_err fs_record_pack(struct fs_upload *u, uint64_t durable, int64_t completed_ms,
                                  struct wr_slice *out);
void fs_record_free(struct wr_slice *packed);
/* Makes an upload of a record; NULL with text when it is damaged. */
struct fs_upload *fs_record_load(struct fs_store *s, struct wr_slice id, struct wr_slice record,
                                 uint64_t size, struct wr_errmsg *err);

/* ---- fs_room.c: places and room of the unfinished ---- */

void fs_room_init(struct fs_room *r);
void fs_room_fini(struct fs_room *r);
/* Takes a place for a new one. NO_SPACE with text: its owner has his share, or all are taken, by uploads that are gone on
 * with. May let go of others. Never under a lock. */
WR_MUST_USE wr_err fs_room_enter(struct fs_upload *u, struct wr_errmsg *err);
/* One that was there at the start: it has its place, whoever else has. */
void fs_room_enter_old(struct fs_upload *u);
/* It is finished or gone: place and room are others'. Once is enough, twice is fine. Any lock may be held. */
void fs_room_leave(struct fs_upload *u);
/* Keeps room for what is still to come of it. NO_SPACE with text. Asks the disk; never under a lock. */
WR_MUST_USE wr_err fs_room_reserve(struct fs_upload *u, uint64_t bytes, struct wr_errmsg *err);
/* So much is still to come, no more: what was written takes the room that was kept for it. u->lock may be held. */
void fs_room_use(struct fs_upload *u, uint64_t left);

/* Points in the code where a test may make the process die: WATCHROOM_FAILPOINT=name[:count]. Costs a load when unset. */
void fs_failpoint(const char *name);
void fs_failpoint_read(void);

#endif
