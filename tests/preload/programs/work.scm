;; SPDX-License-Identifier: MIT
;; Guile at work: a collector that reads stacks and mappings for pointers, threads.
;;   work.scm SCALE
(use-modules (ice-9 threads) (srfi srfi-1))
(define scale (string->number (cadr (command-line))))
(define (vectors n)
  (if (= n 0) '() (cons (make-vector (modulo n 20) n) (vectors (- n 1)))))
(define kept (vectors (* 40000 scale)))
(gc)
(display (apply + (map vector-length kept)))
(newline)
(define (digits from)
  (let loop ((j 0) (sum 0))
    (if (= j (* 30000 scale))
        sum
        (loop (+ j 1) (+ sum (string-length (number->string (+ from j))))))))
(display (map join-thread
              (map (lambda (i) (call-with-new-thread (lambda () (digits (* i 1000))))) (iota 4))))
(newline)
(define table (make-hash-table))
(do ((i 0 (+ i 1))) ((= i (* 30000 scale))) (hashq-set! table i (list i i)))
(gc)
(display (hash-fold (lambda (key value sum) (+ sum (length value))) 0 table))
(newline)
