package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/internal/zstd"
)

// damageMax is how many damages of a file are told.
const damageMax = 100

// Check reads a whole file and says what is sound of it and what is not: every part is held against its digest, every run as run.Verify does, and the
// index and the head against the runs. No node is needed. It returns fault.NotFound if there is no such file, and fault.Invalid for what is no
// archive or one of a version that is not known here; damage is no error.
func Check(ctx context.Context, path string, pinned run.Pinned, tell func(polity.Progress)) (polity.ArchiveCheck, error) {
	found, file, err := check(ctx, path, pinned, tell)
	if err != nil {
		return found, err
	}
	return found, file.Close()
}

// Salvage is Open for a damaged file: what it returns holds those runs alone that are sound, found without the index if need be.
func Salvage(ctx context.Context, path string, pinned run.Pinned, tell func(polity.Progress)) (*File, error) {
	_, file, err := check(ctx, path, pinned, tell)
	return file, err
}

// checker goes through a file.
type checker struct {
	*File
	pinned run.Pinned
	tell   func(polity.Progress)

	whole   bool                         // the index is
	indexed map[int][]polity.ArchivedRun // by block
	sound   []polity.ArchivedRun
	found   polity.ArchiveCheck
}

func check(ctx context.Context, path string, pinned run.Pinned, tell func(polity.Progress)) (polity.ArchiveCheck, *File, error) {
	f, size, err := openFile(path)
	if err != nil {
		return polity.ArchiveCheck{}, nil, err
	}
	file := &File{r: f, size: size, close: f.Close}
	found, err := file.check(ctx, pinned, tell)
	if err != nil {
		return found, nil, errors.Join(at(path, err), f.Close())
	}
	file.Head.Path, file.Head.Size = path, size
	found.File = file.Head
	return found, file, nil
}

// check goes through the file, whose runs are those that are sound from then on.
func (f *File) check(ctx context.Context, pinned run.Pinned, tell func(polity.Progress)) (polity.ArchiveCheck, error) {
	c := &checker{File: f, pinned: pinned, tell: tell, indexed: map[int][]polity.ArchivedRun{}}
	if err := c.run(ctx); err != nil {
		return polity.ArchiveCheck{}, err
	}
	f.Runs = c.sound
	c.found.File, c.found.Sound = f.Head, len(c.sound)
	return c.found, nil
}

func (c *checker) run(ctx context.Context) error {
	switch err := c.load(); {
	case err == nil:
		c.whole = true
	case errors.Is(err, fault.Damaged):
		c.damaged("index", "", err, nil)
	case errors.Is(err, fault.Invalid):
		if _, again := c.partAt(blockKind, headSize); again != nil {
			return err
		}
		c.damaged("head", "", err, nil) // what stands behind it is ours
	default:
		return err
	}
	for _, r := range c.Runs {
		c.indexed[r.Block] = append(c.indexed[r.Block], r)
	}
	if !c.whole {
		c.scan()
	}
	for i := range c.blocks {
		if ctx.Err() != nil {
			return fault.Cancelled.New("archive: %w", context.Cause(ctx))
		}
		c.block(i)
		if c.tell != nil {
			c.tell(polity.Progress{Stage: "runs", Done: int64(len(c.sound)), Total: int64(c.Head.Runs)})
		}
	}
	return nil
}

func (c *checker) damaged(what, name string, err error, runs []polity.ArchivedRun) {
	if len(c.found.Damage) == damageMax {
		return
	}
	d := polity.Damage{What: what, Name: name, Text: fault.Of(err).Text}
	for _, r := range runs {
		d.Runs = append(d.Runs, r.Run)
	}
	c.found.Damage = append(c.found.Damage, d)
}

// scan finds the blocks without the index.
func (c *checker) scan() {
	c.blocks = nil
	for at := int64(headSize); ; {
		p, err := c.partAt(blockKind, at)
		if err != nil {
			if _, end := c.partAt(indexKind, at); end != nil {
				c.damaged("block", strconv.Itoa(len(c.blocks)), fault.Damaged.New("from byte %d on nothing can be found: %w", at, err), nil)
			}
			return
		}
		c.blocks = append(c.blocks, p)
		at += partSize + p.Bytes
	}
}

// block checks a block and the runs in it.
func (c *checker) block(i int) {
	indexed := c.indexed[i]
	p, data, err := c.readPart(blockKind, c.blocks[i].at)
	if err == nil && c.whole && p.Sum != c.blocks[i].Sum {
		err = fault.Damaged.New("archive: it is not the block that the index tells of")
	}
	if err != nil {
		c.damaged("block", strconv.Itoa(i), err, indexed)
		return
	}
	zip, err := zstd.NewReader(data)
	if err != nil {
		c.damaged("block", strconv.Itoa(i), err, indexed)
		return
	}
	defer zip.Close() // it closes what it made itself
	var n int
	for at := int64(0); ; n++ {
		size, err := nextExport(zip)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.damaged("block", strconv.Itoa(i), err, indexed[min(n, len(indexed)):])
			return
		}
		at += lengthSize
		c.export(io.LimitReader(zip, size), polity.ArchivedRun{Block: i, Offset: at, Bytes: size}, indexed, n)
		at += size
	}
	if c.whole && n < len(indexed) {
		c.damaged("block", strconv.Itoa(i), fault.Damaged.New("archive: it holds %d runs, and the index tells of %d", n, len(indexed)), indexed[n:])
	}
}

// nextExport reads the length of the next export of a block, and returns io.EOF behind the last.
func nextExport(r io.Reader) (int64, error) {
	var b [lengthSize]byte
	if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
		return 0, io.EOF
	} else if err != nil {
		return 0, fault.Damaged.New("archive: it is cut, or cannot be unpacked: %w", err)
	}
	size := binary.BigEndian.Uint64(b[:])
	if size > exportMax {
		return 0, fault.Damaged.New("archive: an export of %d bytes", size)
	}
	return int64(size), nil
}

// export checks the nth run of a block, and reads it to its end.
func (c *checker) export(r io.Reader, is polity.ArchivedRun, indexed []polity.ArchivedRun, n int) {
	a, err := run.Verify(r, c.pinned)
	if _, rest := io.Copy(io.Discard, r); err == nil {
		err = rest
	}
	fill(&is, &a)
	var says []polity.ArchivedRun
	if n < len(indexed) {
		says = indexed[n : n+1]
		is.First, is.Last, is.Key = says[0].First, says[0].Last, says[0].Key
	}
	if err == nil && c.whole && (says == nil || !same(is, says[0])) {
		err = fault.Damaged.New("archive: the index tells otherwise of %s", is.Run)
	}
	if err != nil {
		c.damaged("run", fmt.Sprintf("%d of block %d", n, is.Block), err, says)
		return
	}
	c.sound = append(c.sound, is)
}

// fill takes over what an export says of its run.
func fill(r *polity.ArchivedRun, a *polity.Archive) {
	r.Run, r.Agent, r.Status, r.Release, r.Opened, r.Ended = a.Run, a.Agent, a.Status, a.Release, a.Opened.UTC(), a.Ended.UTC()
	r.Events, r.Head = a.Events, a.Head
}

func same(a, b polity.ArchivedRun) bool {
	if !a.Opened.Equal(b.Opened) || !a.Ended.Equal(b.Ended) {
		return false
	}
	a.Opened, a.Ended = b.Opened, b.Ended
	return a == b
}
