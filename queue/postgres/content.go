package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// A content of up to inRow bytes is a column of its message, and is read as a whole. A
// longer one is stored in pieces, each written and read by a separate statement, so
// that a slow writer or reader holds no transaction open.
const (
	inRow     = 64 << 10
	pieceSize = 256 << 10
)

// storePiece stores a piece of a content. The first has no number yet, and gets one.
type storePiece func(ctx context.Context, number *int64, n, sum int32, data []byte) (int64, error)

const uploadSQL = "SELECT {schema}.upload_v1($1::boolean, $2::bigint, $3::int, $4::int, $5::bytea)"

// inPieces stores a piece in a transaction of its own.
func (q *Queue) inPieces(ctx context.Context, number *int64, n, sum int32, data []byte) (got int64, err error) {
	err = q.call(ctx, func(ctx context.Context) error {
		return q.pool.QueryRow(ctx, q.sql(uploadSQL), true, number, n, sum, data).Scan(&got)
	})
	return got, err
}

// abandon removes the pieces of contents whose messages were not put, or may not have been:
// those of a message that is in the queue stay. If it fails, they are removed an hour later.
func (q *Queue) abandon(ctx context.Context, drafts ...draft) {
	numbers := []int64{}
	for i := range drafts {
		if drafts[i].number != nil {
			numbers = append(numbers, *drafts[i].number)
		}
	}
	if len(numbers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = q.call(ctx, func(ctx context.Context) error {
		_, err := q.pool.Exec(ctx, q.sql(`WITH gone AS (DELETE FROM {schema}.upload u WHERE u.message = ANY ($1::bigint[]) RETURNING u.message)
			DELETE FROM {schema}.content c USING gone WHERE c.message = gone.message`), numbers)
		return err
	})
}

// readContent reads the content of a draft, and stores it if it is long. A message whose
// key is known is not read to the end for nothing.
func (q *Queue) readContent(ctx context.Context, store storePiece, now time.Time, d *draft) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.closed.Load() {
		return queue.ErrClosed
	}
	w := &pieces{ctx: ctx, store: store, data: make([]byte, 0, min(max(d.message.Content.Size(), 0), pieceSize))}
	w.before = func() (err error) {
		if d.message.Key == "" || !d.asks {
			return nil
		}
		if d.known, err = q.knownAs(ctx, now, d.message); err == nil && d.known != "" {
			err = queue.ErrDuplicate
		}
		return err
	}
	size, err := queue.CopyContent(ctx, w, d.message.Content)
	if err == nil {
		err = w.end()
	}
	if d.number = w.number; err != nil {
		return err
	}
	d.size, d.content = size, w.data
	if d.number != nil {
		d.content = nil
	} else {
		if d.content == nil {
			d.content = []byte{}
		}
		d.contentSum = sum(d.content)
	}
	return nil
}

// pieces is content on its way in. Up to inRow bytes of it stay in memory.
type pieces struct {
	ctx    context.Context
	store  storePiece
	before func() error // the first piece is stored

	data   []byte
	number *int64
	n      int32
}

// Write takes p.
func (w *pieces) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		room := min(pieceSize-len(w.data), len(p))
		w.data = append(w.data, p[:room]...)
		p, written = p[room:], written+room
		if len(w.data) == pieceSize {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// end stores what is left of a content that is not to stay in memory.
func (w *pieces) end() error {
	if w.number == nil && len(w.data) <= inRow || len(w.data) == 0 {
		return nil
	}
	return w.flush()
}

func (w *pieces) flush() error {
	if w.n == 0 {
		if err := w.before(); err != nil {
			return err
		}
	}
	number, err := w.store(w.ctx, w.number, w.n, pieceSum(w.n, w.data), w.data)
	if err != nil {
		return err
	}
	w.number, w.n, w.data = &number, w.n+1, w.data[:0]
	return nil
}

// pieceSum is the checksum of a piece, which another piece of the same bytes does not have.
func pieceSum(n int32, data []byte) int32 {
	place := binary.BigEndian.AppendUint32(nil, uint32(n))
	return int32(crc32.Update(crc32.Checksum(place, castagnoli), castagnoli, data))
}

func damagedContent(id string) error {
	return fmt.Errorf("the content of %s: %w", id, queue.ErrDamaged)
}

// stored is a content in pieces.
type stored struct {
	q      *Queue
	number int64
	size   int64
}

// Size is the number of bytes.
func (c *stored) Size() int64 { return c.size }

// Open begins at the first piece.
func (c *stored) Open() (io.ReadCloser, error) {
	r := &pieceReader{stored: c}
	return r, r.next()
}

// pieceReader reads a content in pieces.
type pieceReader struct {
	*stored
	n    int32 // the next piece
	data []byte
	read int64
	err  error
}

// Read implements io.Reader.
func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 && r.err == nil {
		if r.read == r.size {
			r.err = io.EOF
		} else {
			r.err = r.next()
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *pieceReader) Close() error {
	r.data, r.err = nil, io.ErrClosedPipe
	return nil
}

// next fetches the next piece.
func (r *pieceReader) next() error {
	var want int32
	err := r.q.call(r.q.base, func(ctx context.Context) error {
		err := r.q.pool.QueryRow(ctx, r.q.sql("SELECT sum, data FROM {schema}.content WHERE message = $1::bigint AND n = $2::int"),
			r.number, r.n).Scan(&want, &r.data)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		var there bool // the message, which goes in one step with its content
		err = r.q.pool.QueryRow(ctx, r.q.sql("SELECT EXISTS (SELECT FROM {schema}.message WHERE id = $1::bigint)"), r.number).Scan(&there)
		switch {
		case err != nil:
			return err
		case there:
			return queue.ErrDamaged
		}
		return queue.ErrNotFound
	})
	if r.q.closed.Load() && err != nil {
		return queue.ErrClosed
	}
	if err != nil {
		return err
	}
	r.read += int64(len(r.data))
	if pieceSum(r.n, r.data) != want || r.read > r.size || len(r.data) == 0 {
		r.data = nil
		return queue.ErrDamaged
	}
	r.n++
	return nil
}
