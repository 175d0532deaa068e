;;;; SPDX-License-Identifier: MIT
;;;; SBCL at work: a heap at a fixed address, whose collector lives by SIGSEGV; threads; recursion.
;;;;   SCALE=N sbcl --load work.lisp --quit
(defvar *scale* (parse-integer (sb-ext:posix-getenv "SCALE")))
(defvar *table* (make-hash-table :test 'equal))
(dotimes (i (* 50000 *scale*))
  (setf (gethash (format nil "~d" (mod (* i 7919) 9000)) *table*) (make-array (mod i 30))))
(gc :full t)
(format t "~a~%" (hash-table-count *table*))
(defun work (n)
  (let ((sum 0))
    (dotimes (j (* 50000 *scale*) sum)
      (incf sum (length (list j n (make-string (mod j 7))))))))
#+sb-thread
(format t "~a~%" (mapcar #'sb-thread:join-thread
                         (loop for n below 4
                               collect (let ((n n)) (sb-thread:make-thread (lambda () (work n)))))))
(defun deep (n) (+ 1 (deep (1+ n))))
(handler-case (deep 0)
  (storage-condition () (format t "too deep~%")))
(gc :full t)
(format t "~a~%" (work 0))
