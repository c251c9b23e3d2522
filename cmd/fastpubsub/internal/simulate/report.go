package simulate

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// printGrowth prints the table, one row a size, and the exponents.
func printGrowth(out io.Writer, rows []scale.Row, fits []fit) {
	fmt.Fprintln(out, "per node; times in ms from the change until a node goes by it (join: until all have routes to each other; told: since an end of the slow link said so), bytes sent, idle / with traffic / under load")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "NODES\tLINKS\tJOIN\tDOWN 50\t99\tMAX\tSLOW 50\t99\tTOLD 99\tWINDOW 50\t99\tPATH MAX\tkB/s IDLE\tBUSY\tLOAD\tMOST\tCPU ms/s\tBUSY\tLOAD\tMB\tSPF ms\tCHANGE\tSTRETCH\t99\tSLOWER %\t")
	for i := range rows {
		r := &rows[i]
		cells := []string{
			fmt.Sprint(r.Nodes), fmt.Sprintf("%.1f", r.Links), ms(r.Join.At(0.5)),
			ms(r.Down.At(0.5)), ms(r.Down.At(0.99)), ms(r.Down.At(1)), ms(r.Slow.At(0.5)), ms(r.Slow.At(0.99)), ms(r.SlowTold.At(0.99)),
			ms(r.Window.At(0.5)), ms(r.Window.At(0.99)), ms(r.Stretch.Longest),
			kb(r.Idle.Bytes), kb(r.Busy.Bytes), kb(r.Loaded.Bytes), kb(r.Loaded.Most),
			fmt.Sprintf("%.2f", r.Idle.CPU), fmt.Sprintf("%.2f", r.Busy.CPU), fmt.Sprintf("%.1f", r.Loaded.CPU),
			fmt.Sprintf("%.2f", r.Memory/1e6), fmt.Sprintf("%.2f", r.SPF.Seconds()*1e3), fmt.Sprintf("%.3f", r.SPFChange.Seconds()*1e3),
			fmt.Sprintf("%.3f", r.Stretch.Mean), fmt.Sprintf("%.2f", r.Stretch.P99), fmt.Sprintf("%.2f", 100*r.Stretch.Slower),
		}
		fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
	}
	_ = w.Flush()
	printKinds(out, rows)
	if len(fits) == 0 {
		return
	}
	var parts []string
	for _, f := range fits {
		part := fmt.Sprintf("%s N^%.2f", f.Name, f.Exponent)
		if f.From != fits[0].From || f.To != fits[0].To {
			part += fmt.Sprintf(" (%d to %d)", f.From, f.To)
		}
		parts = append(parts, part)
	}
	fmt.Fprintf(out, "\ngrowth from %d to %d nodes: %s\n", fits[0].From, fits[0].To, strings.Join(parts, ", "))
}

// printKinds prints what idle traffic, and that under load, consists of.
func printKinds(out io.Writer, rows []scale.Row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"\nNODES"}
	for k := range rows[0].Idle.Kinds {
		head = append(head, scale.Traffic(k).String())
	}
	fmt.Fprintln(w, strings.Join(head, "\t")+"\tB/s idle / under load\t")
	for i := range rows {
		cells := []string{fmt.Sprint(rows[i].Nodes)}
		for k := range rows[i].Idle.Kinds {
			cells = append(cells, fmt.Sprintf("%.0f / %.0f", rows[i].Idle.Kinds[k], rows[i].Loaded.Kinds[k]))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t")+"\t\t")
	}
	_ = w.Flush()
}

func printStorms(out io.Writer, outcomes []scale.Outcome) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STORM\tNODES\tWHOLE AFTER s\tEACH 50 s\t99\tMAX\tREACHED %\tkB/s\tMOST")
	for _, o := range outcomes {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\n", o.What, o.Nodes, o.Settled.Seconds(),
			o.Each.At(0.5).Seconds(), o.Each.At(0.99).Seconds(), o.Each.At(1).Seconds(), 100*o.Reached, kb(o.Bytes), kb(o.Most))
	}
	_ = w.Flush()
}

func printPaths(out io.Writer, rows []pathRow) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PATHS\tGAIN KEPT %\tSWITCHES\tIN LAST MINUTE\tSLOWER THAN DIRECT %\tTOLD PER NODE AND MINUTE\tWHAT")
	for _, r := range rows {
		pairs := float64(r.Quality.Pairs)
		fmt.Fprintf(w, "%s\t%.1f\t%.3f\t%.3f\t%.2f\t%.1f\t%s\n", r.Name, 100*r.Quality.Share(), r.Quality.Switches/pairs/r.Spans,
			r.Quality.Late/pairs, 100*r.Quality.Slower, r.Quality.Told, r.What)
	}
	_ = w.Flush()
	fmt.Fprintln(out, "the gain is what the best path over one relay saves; switches are changes of path per ordered pair and slice or minute")
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1e3) }

func kb(bytes float64) string { return fmt.Sprintf("%.1f", bytes/1e3) }
