/* SPDX-License-Identifier: MIT
 *
 * The filestore's worker threads: they do everything that waits for a disk, and the hashing. Jobs are small turns; a lane
 * with more to do queues itself again behind the others, so that uploads share the threads. */
#include "fs_priv.h"
#include "wr_thread.h"

static void *work(void *arg)
{
    struct fs_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->head && !p->stopping)
            pthread_cond_wait(&p->more, &p->lock);
        struct fs_job *job = p->head;
        if (!job)
            break;
        if (!(p->head = job->next))
            p->tail = &p->head;
        pthread_mutex_unlock(&p->lock);
        job->run(job);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

wr_err fs_pool_init(struct fs_pool *p, unsigned threads)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    p->head = NULL;
    p->tail = &p->head;
    p->stopping = false;
    for (p->num_threads = 0; p->num_threads < WR_MIN(threads, WR_ARRAY_LEN(p->threads));
         p->num_threads++) {
        wr_err e = wr_thread_start(&p->threads[p->num_threads], "fs-work", work, p);
        if (e != WR_OK) {
            fs_pool_fini(p);
            return e;
        }
    }
    return WR_OK;
}

void fs_pool_add(struct fs_pool *p, struct fs_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&p->lock);
    *p->tail = job;
    p->tail = &job->next;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

void fs_pool_fini(struct fs_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->num_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    p->num_threads = 0;
}
