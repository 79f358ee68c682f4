"""Jobs of Celery, which knows a Redis server as broker and as the place of results: a worker and a client in one program.

All its keys begin with one tag, as its transactions are over several of them.
"""

import sys
import threading

from celery import Celery
from celery.contrib.testing.worker import start_worker

port = sys.argv[1]
url = f"redis://127.0.0.1:{port}/0"
app = Celery("jobs", broker=url, backend=url)
app.conf.update(
    broker_transport_options={"global_keyprefix": "{celery}:"},
    result_backend_transport_options={"global_keyprefix": "{celery}:"},
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    worker_enable_remote_control=False,
)


@app.task
def double(number):
    return number * 2


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def fail_twice(self):
    if self.request.retries < 2:
        raise self.retry()
    return self.request.retries


with start_worker(app, perform_ping_check=False, pool="threads", concurrency=4, loglevel="ERROR"):
    jobs = [double.delay(number) for number in range(100)]
    assert [job.get(timeout=20) for job in jobs] == [2 * number for number in range(100)]
    assert fail_twice.delay().get(timeout=20) == 2
    assert double.apply_async((21,), countdown=0.2).get(timeout=20) == 42
    answers = []

    def ask(number):
        answers.append(double.delay(number).get(timeout=20))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [2 * number for number in range(8)]
print("done")
